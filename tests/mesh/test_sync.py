"""Ledgers and keys meet over links, in pieces, and each node ends with the same."""

import asyncio
import random
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh import sync
from mesh.community import CommunityStore
from mesh.core import codec, crypto
from mesh.core.entries import MAX_SEQ, Admit, Remove
from mesh.core.envelope import Envelope, MeshKind
from mesh.core.epochs import BY_VOTER, MAX_KEYS, MAX_NUMBER, EpochKey
from mesh.core.equivocation import Equivocation
from mesh.core.ledger import MAX_HEADS, Head
from mesh.core.membership import OBSERVER
from mesh.errors import MalformedError, StorageError
from mesh.identity import Identity
from mesh.sync import (
    BATCH_BYTES,
    CHECKED_BURST,
    CHECKED_PER_S,
    COMPARED_BURST,
    COMPARED_PER_S,
    LIMITS,
    MAX_BATCH_ENTRIES,
    MAX_SENT_KEYS,
)
from tests.mesh.core.world import Person, copy_of, of_the_future
from tests.mesh.syncing import ANNA, BEN, CLEO, DARA, Net, Node, Wire, same, three_nodes


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    """Anna founded; Ben and Cleo were admitted and have her ledger as it was then."""
    with three_nodes(tmp_path) as made:
        yield made


def test_what_happened_while_apart_is_caught_up(nodes: list[Node]) -> None:
    """Entries and the key of the new number, through one comparison each way."""
    anna, ben, _ = nodes
    anna.admits(DARA)
    anna.store.sign(Remove(CLEO.public, "forgotten"))
    anna.sync.ensure_key()
    net = Net()
    net.link(anna, ben)
    net.settle()
    assert same(anna, ben)
    assert ben.store.keys.number == 1
    assert ben.ledger_changes == 1
    assert ben.key_changes >= 1


def test_news_go_round_once(nodes: list[Node]) -> None:
    """A new entry reaches everyone in a circle and stops."""
    anna, ben, cleo = nodes
    net = Net()
    for one, two in ((anna, ben), (ben, cleo), (cleo, anna)):
        net.link(one, two)
    net.settle()
    net.delivered = 0
    entry = anna.store.sign(Admit(DARA.statement, "Dara", OBSERVER))
    anna.sync.spread([entry])
    net.settle()
    assert same(anna, ben, cleo)
    assert net.delivered <= 4


def test_a_long_ledger_comes_in_batches(nodes: list[Node]) -> None:
    """None larger than a quarter of a MiB, each asked for."""
    anna, ben, _ = nodes
    assert anna.store.ledger is not None
    elsewhere = copy_of(anna.store.ledger)
    anna.store.take([ANNA.signs(elsewhere, Remove(DARA.public, f"{n} " + "x" * 180)) for n in range(700)])
    net = Net()
    net.link(anna, ben)
    net.settle()
    assert ben.store.ledger is not None
    assert len(ben.store.ledger) == len(anna.store.ledger)
    assert BATCH_BYTES / 2 < anna.wires["Ben"].largest < BATCH_BYTES + 16_384


def test_an_observer_makes_a_key_where_no_voter_is_in_reach(nodes: list[Node]) -> None:
    """Two who were left behind can talk; the voter's key wins when it comes."""
    anna, ben, cleo = nodes
    anna.admits(DARA)
    removal = anna.store.sign(Remove(DARA.public, "forgotten"))
    assert anna.store.ledger is not None
    for node in (ben, cleo):
        node.store.take(anna.store.ledger.entries)
        assert node.store.keys.current == ()
    net = Net()
    net.link(ben, cleo)
    net.settle()
    assert same(ben, cleo)
    assert [key.generation for key in ben.store.keys.current] == [0]
    net.link(anna, ben)
    net.settle()
    anna.sync.ensure_key()
    net.settle()
    assert same(anna, ben, cleo)
    assert removal.id in anna.store.ledger


def test_a_voter_answers_a_departure_with_a_new_key(nodes: list[Node]) -> None:
    """Who left does not have it, who stays gets it."""
    anna, ben, cleo = nodes
    net = Net()
    for one, two in ((anna, ben), (anna, cleo)):
        net.link(one, two)
    net.settle()
    entry = cleo.store.sign(Remove(CLEO.public, "left"))
    cleo.sync.spread([entry])
    del anna.wires["Cleo"]
    net.queue = deque(item for item in net.queue if item[1] is anna)
    anna.wires["Cleo"] = cleo.wires["Anna"]
    net.settle()
    assert same(anna, ben)
    assert ben.store.keys.number == 1


def test_a_full_queue_is_no_error(nodes: list[Node]) -> None:
    """The next comparison makes up for it."""
    anna, ben, _ = nodes
    net = Net()
    net.link(anna, ben)
    net.settle()
    anna.wires["Ben"].full = True
    anna.sync.spread([anna.store.sign(Admit(DARA.statement, "Dara", OBSERVER))])
    net.settle()
    assert not same(anna, ben)
    anna.wires["Ben"].full = False
    net.link(anna, ben)
    net.settle()
    assert same(anna, ben)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (MeshKind.HEADS, []),
        (MeshKind.HEADS, [[1], 0, []]),
        (MeshKind.HEADS, [[], 0, [b"short"]]),
        (MeshKind.ENTRIES, [False, [b"junk"]]),
        (MeshKind.ENTRIES, [0, []]),
        (MeshKind.EPOCH_KEYS, [[1]]),
        (9, []),
    ],
)
def test_nonsense_is_malformed(nodes: list[Node], kind: int, fields: list[codec.Item]) -> None:
    """A member that sends it is told from one that does not."""
    anna, ben, _ = nodes
    net = Net()
    net.link(anna, ben)
    net.settle()
    with pytest.raises(MalformedError):
        anna.sync.receive(anna.wires["Ben"], Envelope(kind, b"m" * 16, None, 0, codec.encode(fields)))


@pytest.mark.parametrize(("kind", "limit"), [(MeshKind.EPOCH_KEYS, 8), (MeshKind.HEADS, 384), (MeshKind.ENTRIES, 384)])
def test_a_body_longer_than_its_kind_needs_is_not_read(nodes: list[Node], kind: int, limit: int) -> None:
    """The size is looked at before anything is decoded."""
    anna, ben, _ = nodes
    net = Net()
    net.link(anna, ben)
    net.settle()
    with pytest.raises(MalformedError, match=f"at most {limit * 1024} are allowed"):
        anna.sync.receive(anna.wires["Ben"], Envelope(kind, b"m" * 16, None, 0, b"\x80" * (limit * 1024 + 1)))


def test_the_longest_heads_and_keys_are_within_the_bounds() -> None:
    """What this node sends of each kind, a neighbour reads."""
    head = Head(b"a" * 32, MAX_SEQ, b"i" * 32).to_item()
    key = EpochKey(MAX_NUMBER, BY_VOTER, b"i" * 16, b"s" * 32).to_item()
    longest: dict[int, list[codec.Item]] = {
        MeshKind.HEADS: [[head] * MAX_HEADS, MAX_NUMBER, [b"i" * 16] * MAX_KEYS],
        MeshKind.ENTRIES: [True, [bytes(BATCH_BYTES // MAX_BATCH_ENTRIES)] * MAX_BATCH_ENTRIES],
        MeshKind.EPOCH_KEYS: [key] * MAX_SENT_KEYS,
    }
    for kind, fields in longest.items():
        max_bytes, max_items = LIMITS[kind]
        assert codec.decode_array(codec.encode(fields), max_bytes=max_bytes, max_items=max_items) == fields


def test_many_news_at_once_go_round_in_batches(nodes: list[Node]) -> None:
    """What was waited for may come free all at once; no message grows beyond a batch for it."""
    anna, ben, _ = nodes
    net = Net()
    net.link(anna, ben)
    net.settle()
    assert anna.store.ledger is not None
    assert ben.store.ledger is not None
    elsewhere = copy_of(anna.store.ledger)
    news = [ANNA.signs(elsewhere, Remove(DARA.public, f"{n} " + "x" * 180)) for n in range(700)]
    anna.store.take(news)
    anna.sync.spread(news)
    net.settle()
    assert len(ben.store.ledger) == len(anna.store.ledger)
    assert BATCH_BYTES / 2 < anna.wires["Ben"].largest < BATCH_BYTES + 16_384


def test_without_a_community_there_is_nothing_to_say(nodes: list[Node]) -> None:
    """Neither comparing nor taking."""
    anna, ben, _ = nodes
    net = Net()
    ben.store.leave()
    net.link(anna, ben)
    net.settle()
    assert ben.store.ledger is None


def test_a_key_planted_before_a_removal_is_none_after_it(nodes: list[Node]) -> None:
    """Who is removed knows no key that is used then, though it sent sixteen of the greatest."""
    anna, ben, cleo = nodes
    net = Net()
    net.link(anna, ben)
    net.link(anna, cleo)
    net.settle()
    planted = [EpochKey(1, BY_VOTER, bytes([255] * 15 + [n]), b"K" * 32) for n in range(16)]
    body = codec.encode([key.to_item() for key in planted])
    anna.sync.receive(anna.wires["Cleo"], Envelope(MeshKind.EPOCH_KEYS, b"m" * 16, None, 0, body))
    net.settle()
    removal = anna.store.sign(Remove(CLEO.public, "stolen"))
    del anna.wires["Cleo"]
    anna.sync.spread([removal])
    anna.sync.ensure_key()
    net.settle()
    assert same(anna, ben)
    assert not set(ben.store.keys.current) & set(planted)


def test_a_key_that_came_too_early_comes_again(nodes: list[Node]) -> None:
    """The removal it belongs to makes the receiver compare, and the sender answers with the key."""
    anna, ben, _ = nodes
    net = Net()
    net.link(anna, ben)
    net.settle()
    removal = anna.store.sign(Remove(CLEO.public, "forgotten"))
    anna.sync.ensure_key()
    net.settle()
    assert not ben.store.keys.current[0].number
    anna.sync.spread([removal])
    net.settle()
    assert same(anna, ben)
    assert ben.store.keys.number == 1


def test_a_fork_larger_than_a_batch_keeps_no_removal_back(nodes: list[Node]) -> None:
    """Held by both or by one alone, it comes after what others signed."""
    anna, ben, _ = nodes
    assert anna.store.ledger is not None
    elsewhere = copy_of(anna.store.ledger)
    first = elsewhere.next_place(CLEO.public)
    fork = [of_the_future(CLEO, elsewhere, 15_000 + n, place=first) for n in range(40)]
    for node in (anna, ben):
        node.store.take(fork[:20])
    anna.store.take(fork[20:])
    assert sum(len(entry.raw) for entry in fork[:20]) > BATCH_BYTES
    removal = anna.store.sign(Remove(CLEO.public, "stolen"))
    anna.sync.ensure_key()
    net = Net()
    net.link(anna, ben)
    net.settle()
    assert ben.store.ledger is not None
    assert removal.id in ben.store.ledger
    assert same(anna, ben)
    assert len(ben.store.ledger) == len(anna.store.ledger)


@pytest.mark.parametrize("more", [(0, 0), (2, 0), (0, 2)])
def test_after_a_partition_all_hold_the_proof_of_a_fork_and_keep_it(
    nodes: list[Node], tmp_path: Path, more: tuple[int, int]
) -> None:
    """Each side had heard one branch, of whatever length; then all know both, and so does who starts anew."""
    anna, ben, cleo = nodes
    assert anna.store.ledger is not None
    place = anna.store.ledger.next_place(CLEO.public)
    branches = [copy_of(anna.store.ledger) for _ in more]
    signed = [CLEO.signs(branch, Remove(DARA.public, str(n)), place=place) for n, branch in enumerate(branches)]
    for node, branch, count in zip((anna, ben), branches, more, strict=True):
        for n in range(count):
            CLEO.signs(branch, Remove(DARA.public, f"more {n}"))
        node.store.take(branch.entries)
        assert node.store.membership is not None
        assert node.store.membership.equivocations == {}
    net = Net()
    net.link(ben, cleo)
    net.link(anna, ben)
    net.settle()
    assert same(anna, ben, cleo)
    proof = Equivocation(CLEO.public, 0, tuple(sorted(entry.id for entry in signed)))  # type: ignore[arg-type]  # two
    for node in nodes:
        assert node.store.membership is not None
        assert node.store.membership.equivocations == {CLEO.raw_id: proof}
        again = CommunityStore(
            tmp_path / node.person.name, Identity(node.person.seed, node.person.static_secret, node.person.statement)
        )
        assert again.membership == node.store.membership
        again.close()


@pytest.mark.parametrize("seed", range(40))
def test_ledger_any_partition_heals_in_any_order(nodes: list[Node], seed: int) -> None:
    """Whoever signed what on which side, in however many versions, and whoever meets first: all hold all of it."""
    rng = random.Random(seed)  # noqa: S311  a case to be repeated
    assert nodes[0].store.ledger is not None
    sides = [copy_of(nodes[0].store.ledger) for _ in nodes]
    for number in range(rng.randint(1, 14)):
        side, author = rng.randrange(3), rng.choice([ANNA, BEN, CLEO])
        place = sides[side].next_place(author.public)
        for version in range(rng.choice([1, 1, 1, 2, 3])):
            author.signs(sides[side], Remove(DARA.public, f"{number} {side} {version}"), place=place)
    for node, ledger in zip(nodes, sides, strict=True):
        node.store.take(ledger.entries)
    one, two, three = rng.sample(nodes, 3)
    net = Net()
    net.link(one, two)
    if rng.random() < 0.5:
        net.settle()
    net.link(two, three)
    net.settle()
    assert same(*nodes)
    everything = {entry.id for ledger in sides for entry in ledger.entries}
    for node in nodes:
        assert node.store.ledger is not None
        assert {entry.id for entry in node.store.ledger.entries} == everything


def test_who_compares_without_end_is_answered_now_and_then(nodes: list[Node]) -> None:
    """The answer may be a whole batch; the neighbour that asks as it should is answered meanwhile."""
    anna, ben, cleo = nodes
    net = Net()
    wires = [Wire(net, anna, other) for other in (ben, cleo)]
    heads = Envelope(MeshKind.HEADS, bytes(16), None, 0, codec.encode([[], 0, []]))
    for _ in range(4 * int(COMPARED_BURST)):
        anna.sync.receive(wires[0], heads)
    answers = sum(envelope.kind == MeshKind.ENTRIES for _, _, envelope in net.queue)
    assert COMPARED_BURST <= answers <= COMPARED_BURST + 2 * COMPARED_PER_S
    net.queue.clear()
    anna.sync.receive(wires[1], heads)
    assert net.queue


def test_entries_without_end_cost_a_bounded_number_of_signatures(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those held are not looked at again, those of strangers up to a bound; others bring news meanwhile."""
    anna, ben, cleo = nodes
    checked: list[bytes] = []
    verify = crypto.verify

    def counted(*fields: Any) -> None:  # noqa: ANN401  passed on as it is
        checked.append(fields[0])
        verify(*fields)

    monkeypatch.setattr(crypto, "verify", counted)
    net = Net()
    wires = [Wire(net, anna, other) for other in (ben, cleo)]
    assert anna.store.ledger is not None
    held: list[codec.Item] = [entry.raw for entry in anna.store.ledger.entries]
    anna.sync.receive(wires[0], Envelope(MeshKind.ENTRIES, bytes(16), None, 0, codec.encode([False, held])))
    assert checked == []
    flood = codec.encode([False, [of_the_future(DARA, anna.store.ledger, 10).raw] * 1000])
    for _ in range(2 * int(CHECKED_BURST) // 1000):
        anna.sync.receive(wires[0], Envelope(MeshKind.ENTRIES, bytes(16), None, 0, flood))
    assert 0 < len(checked) <= CHECKED_BURST + 5 * CHECKED_PER_S
    news = ben.store.sign(Remove(BEN.public, "left"))
    anna.sync.receive(wires[1], Envelope(MeshKind.ENTRIES, bytes(16), None, 0, codec.encode([False, [news.raw]])))
    assert news.id in anna.store.ledger


async def test_what_could_not_be_written_is_asked_for_again(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: the entries are not known then, and come again while the link stands, once there is room."""
    monkeypatch.setattr(sync, "ASK_AGAIN_S", 0.01)
    anna, ben, *_ = nodes
    net = Net()
    net.link(anna, ben)
    net.settle()
    (pages,) = ben.store._database.execute("PRAGMA page_count").fetchone()
    ben.store._database.execute(f"PRAGMA max_page_count = {pages}")
    anna.admits(*(Person(f"guest {number}") for number in range(60)))
    anna.sync.compare(anna.wires["Ben"])
    ben.sync.compare(ben.wires["Anna"])
    with pytest.raises(StorageError):
        net.settle()
    net.queue.clear()
    ben.store._database.execute("PRAGMA max_page_count = 100000")
    asking = asyncio.create_task(ben.sync.run())
    async with asyncio.timeout(10):
        while len(ben.store.others) < len(anna.store.others):
            await asyncio.sleep(0.01)
            net.settle()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

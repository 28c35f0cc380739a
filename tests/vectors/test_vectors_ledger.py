"""Entries, what they fold to, epoch keys and the exchange of both agree with the committed files."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.community import CommunityStore
from mesh.core import codec, crypto
from mesh.core.entries import Entry
from mesh.core.envelope import Envelope
from mesh.core.epochs import EpochKey, KeyRing
from mesh.core.ledger import Ledger
from mesh.core.roll import fold
from mesh.errors import MalformedError, PeerMisbehavedError
from mesh.identity import Identity
from mesh.sync import LedgerSync
from tests.vectors.reading import Case, cases, data_of, invalid, item_of, title


@pytest.mark.parametrize("case", cases("entries"), ids=title)
def test_entries(case: Case) -> None:
    """The payload has one encoding, the id is its hash, and the signature holds."""
    entry = Entry.parse(data_of(case))
    assert codec.encode(item_of(case["payload"])) == entry.raw[: -crypto.SIGNATURE_BYTES]
    assert (entry.id.hex(), entry.community.hex()) == (case["id"], case["community"])
    assert entry.author.hex() == case["author"]


@pytest.mark.parametrize("case", invalid("entries"), ids=title)
def test_what_is_no_entry(case: Case) -> None:
    """Is refused, though some of it is signed by a member."""
    with pytest.raises(PeerMisbehavedError):
        Entry.parse(data_of(case))


@pytest.mark.parametrize("case", cases("membership"), ids=title)
def test_membership(case: Case) -> None:
    """A set of entries has one meaning, in whatever order it came."""
    genesis, *rest = (Entry.parse(bytes.fromhex(text)) for text in case["entries"])
    random.Random(1).shuffle(rest)  # noqa: S311  an order, not a secret
    ledger = Ledger(genesis)
    for entry in rest:
        ledger.add(entry)
    folded = fold(ledger.entries)
    assert folded.number == case["number"]
    assert (folded.charter.number, folded.charter.quorum) == (case["epoch"], case["quorum"])
    assert len(folded.rivals) == case["rivals"]
    assert {
        raw_id.hex(): {"name": one.name, "role": one.role, "public": one.public.hex(), "static": one.static.hex()}
        for raw_id, one in folded.members.items()
    } == case["members"]


@pytest.mark.parametrize("case", cases("epoch-keys"), ids=title)
def test_epoch_keys(case: Case) -> None:
    """Written and read."""
    key = EpochKey(case["number"], case["generation"], bytes.fromhex(case["id"]), bytes.fromhex(case["secret"]))
    assert codec.encode(key.to_item()) == data_of(case)
    assert EpochKey.parse(codec.decode(data_of(case), max_bytes=200)) == key


def test_epoch_keys_come_the_greatest_first() -> None:
    """The file's order is the order of preference."""
    keys = [EpochKey.parse(codec.decode(data_of(case), max_bytes=200)) for case in cases("epoch-keys")]
    assert list(KeyRing(keys[0].number).with_keys(reversed(keys)).current) == keys


@pytest.mark.parametrize("case", invalid("epoch-keys"), ids=title)
def test_what_is_no_epoch_key(case: Case) -> None:
    """Is refused."""
    with pytest.raises(MalformedError):
        EpochKey.parse(codec.decode(data_of(case), max_bytes=200))


class Listener:
    """A peer that keeps what it is sent."""

    peer_id = "p" * 52

    def __init__(self) -> None:
        self.heard: list[tuple[int, bytes]] = []

    def send(self, kind: int, body: bytes, *, ttl_s: float) -> bytes:
        """Take a message."""
        assert ttl_s > 0
        self.heard.append((kind, body))
        return b"m" * 16


@pytest.fixture
def ada(tmp_path: Path) -> Iterator[CommunityStore]:
    """The node of the identity file's first case, in the community of the exchange."""
    (tmp_path / "identity").write_bytes(data_of(cases("identity")[0]))
    store = CommunityStore(tmp_path / "community.db", Identity.open(tmp_path / "identity"))
    entries = next(case for case in cases("exchange") if case["name"] == "ENTRIES")
    _, raws = codec.decode_array(data_of(entries), max_bytes=100_000)
    assert isinstance(raws, list)
    store.enter(Ledger.of(Entry.parse(codec.short_bytes(raw, 10_000)) for raw in raws), [])
    yield store
    store.close()


def received(store: CommunityStore, kind: int, body: bytes) -> Listener:
    """Hand a message's body to the exchange."""
    peer = Listener()
    sync = LedgerSync(store, own_id="a" * 52, peers=lambda: [peer], on_ledger=lambda: None, on_keys=lambda: None)
    sync.receive(peer, Envelope(kind, b"m" * 16, None, 1000, body))
    return peer


@pytest.mark.parametrize("case", cases("exchange"), ids=title)
def test_messages_of_the_exchange(case: Case, ada: CommunityStore) -> None:
    """Each has these bytes, and is taken."""
    assert codec.encode(item_of(case["body"])) == data_of(case)
    assert isinstance(received(ada, case["kind"], data_of(case)), Listener)


def test_our_heads_have_the_committed_bytes(ada: CommunityStore) -> None:
    """The ledger of the ENTRIES case has the heads of the HEADS case."""
    peer = Listener()
    sync = LedgerSync(ada, own_id="a" * 52, peers=lambda: [peer], on_ledger=lambda: None, on_keys=lambda: None)
    sync.compare(peer)
    [(kind, body)] = peer.heard
    [heads, _, _] = codec.decode_array(body, max_bytes=10_000)
    case = cases("exchange")[0]
    assert (kind, heads) == (case["kind"], item_of(case["body"][0]))


@pytest.mark.parametrize("case", invalid("exchange"), ids=title)
def test_what_is_no_message_of_the_exchange(case: Case, ada: CommunityStore) -> None:
    """Is refused."""
    with pytest.raises(PeerMisbehavedError):
        received(ada, case["kind"], data_of(case))

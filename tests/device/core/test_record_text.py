"""The record in plain words, and which of it is asked for."""

import pytest

from device.api_of_record import OnRecord
from device.core.governance import fold_models
from device.core.record_text import Scribe, Wanted
from device.wording import short_id
from mesh.core import crypto
from mesh.core.attestation import Attestation
from mesh.core.ballots import Amendment, Commit, Lock, Proposal, Recovery, Slot, Vote
from mesh.core.community_fork import Fork
from mesh.core.entries import Admit, PublishModel, Remove, RotateKey, write_entry
from mesh.core.ledger import Ledger
from mesh.core.roll import fold
from mesh.core.standing import Standing
from tests.mesh.core.world import Person, digest_of, of_the_future

ANNA, BEN, CLEO = Person("Anna"), Person("Ben"), Person("Cleo")
TINY = digest_of("tiny").hex()


def scribe(ledger: Ledger) -> Scribe:
    """What writes a ledger down."""
    standing = Standing(ledger.entries, fold(ledger.entries))
    return Scribe(standing, fold_models(ledger.entries, standing))


def node(person: Person) -> str:
    """A person as people see it."""
    return f"{person.name} ({short_id(crypto.node_id(person.raw_id))})"


def said(ledger: Ledger, wanted: Wanted | None = None) -> list[str]:
    """The sentences of those entries that are asked for."""
    writer = scribe(ledger)
    found = writer.wanted(enumerate(ledger.entries, 1), wanted or Wanted())
    return [writer.line(number, entry).says for number, entry in found]


@pytest.fixture
def ledger() -> Ledger:
    """Anna's community, with Ben."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    return ledger


def test_each_kind_is_a_sentence(ledger: Ledger) -> None:
    """That begins with who signed it; an unknown kind is said to be one."""
    BEN.publishes(ledger, "tiny")
    ANNA.retires(ledger, "tiny", "it lies")
    ANNA.retires(ledger, "unheard of")
    ledger.add(of_the_future(BEN, ledger, 1))
    ANNA.signs(ledger, Remove(BEN.public, "forgotten"))
    BEN.receives(ledger, ANNA, 300, period=2)
    BEN.removes(ledger, BEN)
    ANNA.becomes(ledger, CLEO)
    ANNA.signs(ledger, Admit(BEN.statement, "Ben", "voter"))
    assert said(ledger) == [
        f"{node(ANNA)} founded the community Harbour",
        f"{node(ANNA)} let {node(BEN)} in as an observer",
        f"{node(BEN)} published tiny ({TINY[:8]}), licence CC0-1.0",
        f"{node(ANNA)} retired tiny ({TINY[:8]}): it lies",
        f"{node(ANNA)} retired model {digest_of('unheard of').hex()[:8]}",
        f"{node(BEN)} signed an entry of kind “of the future”, which this version does not know",
        f"{node(ANNA)} removed {node(BEN)}: forgotten",
        f"{node(BEN)} received 1 answer of 300 tokens from {node(ANNA)}, period 2",
        f"{node(BEN)} left the community",
        f"{node(ANNA)} goes on under a new key, as node {short_id(crypto.node_id(CLEO.raw_id))}",
        f"{node(ANNA)} let {node(BEN)} in as a voter",
    ]


def test_what_is_voted_on_is_a_sentence_too(ledger: Ledger) -> None:
    """Each step in its own words."""
    slot, value = Slot("epoch", 3), bytes(range(32))
    for ballot in (
        Proposal("promote", BEN.public, "she asked"),
        Proposal("voter", BEN.public, ""),
        Proposal("observer", BEN.public, ""),
        Proposal("remove", BEN.public, "gone"),
        Proposal("refresh", ANNA.public, ""),
        Amendment(1, 2, 3, "we are many"),
        Amendment(0, 0, 1, ""),
        Recovery(BEN.public),
        Vote(slot, 0, value),
        Vote(slot, 1, None),
        Lock(slot, 1, value, ()),
        Commit(slot, 1, value, ()),
        Attestation(value, 57, bytes(32), bytes(64)),
    ):
        ledger.add(write_entry(ANNA.seed, ledger.community, ledger.next_place(ANNA.public), ballot))
    assert said(ledger)[2:] == [
        f"{node(ANNA)} proposes to promote {node(BEN)}: she asked",
        f"{node(ANNA)} proposes to make {node(BEN)} a voter",
        f"{node(ANNA)} proposes to make {node(BEN)} an observer",
        f"{node(ANNA)} proposes to remove {node(BEN)}: gone",
        f"{node(ANNA)} proposes to take up new keys of voters and who of them left, and to fix what was signed so far",
        (
            f"{node(ANNA)} proposes other rules: 1 more than two thirds decide, seen by 2 voters first,"
            " 3 invitations a voter: we are many"
        ),
        f"{node(ANNA)} proposes other rules: 0 more than two thirds decide, 1 invitation a voter",
        f"{node(ANNA)} has a paper with a recovery key from now on",
        f"{node(ANNA)} votes on decision 3, round 0, for proposal 00010203",
        f"{node(ANNA)} votes on decision 3, round 1, for none of them",
        f"{node(ANNA)} is bound on decision 3, round 1, to proposal 00010203",
        f"{node(ANNA)} writes down that decision 3 is proposal 00010203",
        f"{node(ANNA)} signs the tree of 57 entries up to proposal 00010203",
    ]


def test_a_paper_and_a_beginning_are_sentences_too(ledger: Ledger) -> None:
    """Whose place goes to which node, and who begins anew with how many."""
    dara = Person("Dara")
    ANNA.signs(ledger, Recovery(dara.public))
    dara.signs(ledger, RotateKey(ANNA.public, CLEO.statement))
    BEN.signs(ledger, Fork((b"genesis", b"one", b"two")))
    paper, board = (f"node {short_id(crypto.node_id(one.raw_id))}" for one in (dara, CLEO))
    assert said(ledger)[3:] == [
        f"{paper} gives {board} the place of {node(ANNA)}",
        f"{node(BEN)} begins the community anew, with 2 other members",
    ]


def test_a_line_says_all_of_an_entry(ledger: Ledger) -> None:
    """Also that it counts nothing, and that nobody was let in under its author's key."""
    BEN.admits(ledger, CLEO)
    entry = CLEO.signs(ledger, PublishModel(digest_of("tiny"), digest_of("release"), "tiny", ""))
    line = scribe(ledger).line(4, entry)
    stranger = crypto.node_id(CLEO.raw_id)
    assert (line.number, line.id, line.kind, line.seq) == (4, entry.id.hex(), "model", 0)
    assert (line.node_id, line.name, line.model, line.counts) == (stranger, "", TINY, False)
    assert line.says == f"node {short_id(stranger)} published tiny ({TINY[:8]}), licence unknown"


def test_entries_are_asked_for_by_kind_author_and_model(ledger: Ledger) -> None:
    """By name or by the beginning of an id or a digest, of four characters at least; and by all of it at once."""
    BEN.publishes(ledger, "tiny")
    ANNA.publishes(ledger, "large")
    ANNA.retires(ledger, "tiny")
    everything = said(ledger)
    assert said(ledger, Wanted(kind="model")) == everything[2:4]
    assert said(ledger, Wanted(author="Ben")) == everything[2:3]
    assert said(ledger, Wanted(author=crypto.node_id(BEN.raw_id)[:4])) == everything[2:3]
    assert said(ledger, Wanted(author=crypto.node_id(BEN.raw_id)[:3])) == []
    assert said(ledger, Wanted(model="tiny")) == [everything[2], everything[4]]
    assert said(ledger, Wanted(model=TINY[:4])) == [everything[2], everything[4]]
    assert said(ledger, Wanted(model=TINY[:3])) == []
    assert said(ledger, Wanted(kind="retire", author="Anna", model="tiny")) == everything[4:]
    assert said(ledger, Wanted(kind="retire", author="Ben", model="tiny")) == []


def test_a_name_counts_whoever_gave_it(ledger: Ledger) -> None:
    """A model that no publication stands for is found by the name somebody gave it."""
    ANNA.admits(ledger, CLEO)
    CLEO.removes(ledger, CLEO)
    CLEO.publishes(ledger, "tiny")
    assert len(said(ledger, Wanted(model="tiny"))) == 1


def test_no_name_passes_for_part_of_a_sentence() -> None:
    """What is more than a word stands in quotes, and has none itself."""
    mallory = Person('Anna (abcdefgh) retired tiny” "')
    ledger = ANNA.founds("Harbour Street")
    ANNA.admits(ledger, mallory)
    mallory.publishes(ledger, "tiny (5f1c8a03): it lies")
    own = f"“Anna (abcdefgh) retired tiny' '” ({short_id(crypto.node_id(mallory.raw_id))})"
    model = f"“tiny (5f1c8a03): it lies” ({digest_of('tiny (5f1c8a03): it lies').hex()[:8]})"
    assert said(ledger) == [
        f"{node(ANNA)} founded the community “Harbour Street”",
        f"{node(ANNA)} let {own} in as an observer",
        f"{own} published {model}, licence CC0-1.0",
    ]


def test_what_the_record_says_of_a_model(ledger: Ledger) -> None:
    """Who publishes it, who took it back, and who of them is no member any more."""
    BEN.publishes(ledger, "tiny")
    [model] = fold_models(ledger.entries, Standing(ledger.entries, fold(ledger.entries))).values()
    writer, members = scribe(ledger), frozenset({ANNA.public, BEN.public})
    expected = OnRecord(name="tiny", digest=TINY, licence="CC0-1.0", published_by=(node(BEN),))
    assert writer.on_record(model, members) == expected
    assert writer.on_record(model, frozenset({ANNA.public})).published_by == (f"{node(BEN)}, no member any more",)
    BEN.retires(ledger, "tiny", "too slow")
    BEN.becomes(ledger, CLEO)
    [model] = fold_models(ledger.entries, Standing(ledger.entries, fold(ledger.entries))).values()
    shown = scribe(ledger).on_record(model, frozenset({ANNA.public, CLEO.public}))
    assert (shown.published_by, shown.retired) == ((node(BEN),), f"by {node(BEN)}: too slow")

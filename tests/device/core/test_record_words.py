"""What stands in a record is said in words, and by the names that people had by then."""

from device.core.record_words import RecordLine, in_words
from mesh.core.ballots import Ballot, Commit, Lock, Proposal, Slot, Vote
from mesh.core.entries import Entry, Remove, write_entry
from mesh.core.ledger import Ledger
from mesh.core.tree_order import ordered
from tests.mesh.core.world import Person, of_the_future

ANNA, BEN, CLEO = Person("Anna"), Person("Ben"), Person("Cleo")
SLOT = Slot("epoch", 3)
VALUE = bytes(range(32))


def told(ledger: Ledger) -> list[RecordLine]:
    """The whole record in words."""
    return list(in_words(ordered(ledger.entries, [ledger.heads()])))


def test_who_came_and_went() -> None:
    """With reasons, and with an id beside each name: there may be two of one name."""
    ledger = ANNA.founds("Harbour")
    ANNA.admits(ledger, BEN)
    ANNA.signs(ledger, Remove(CLEO.public, ""))
    ANNA.signs(ledger, Remove(BEN.public, "sold his board"))
    BEN.removes(ledger, BEN)
    BEN.signs(ledger, Remove(BEN.public, "moving away"))
    ben, cleo = BEN.statement.node_id[:8], CLEO.statement.node_id[:8]
    lines = told(ledger)
    assert [one.says for one in lines] == [
        "founded the community Harbour",
        f"let Ben ({ben}) in, as observer",
        f"removed {cleo}",
        f"removed Ben ({ben}): sold his board",
        "left",
        "left: moving away",
    ]
    assert [one.name for one in lines] == ["Anna"] * 4 + ["Ben"] * 2
    assert [one.number for one in lines] == list(range(6))
    assert [one.kind for one in lines][:3] == ["genesis", "admit", "remove"]
    assert lines[1].author == ANNA.statement.node_id
    assert lines[1].entry == ledger.entries[1].id.hex()


def test_who_goes_on_under_another_key_keeps_its_name() -> None:
    """Also for what it signs then, and what is not known is said to be."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    BEN.becomes(ledger, CLEO)
    of_the_future(CLEO, ledger, 3)
    ledger.add(of_the_future(CLEO, ledger, 3))
    last = told(ledger)[-2:]
    assert last[0].says == f"goes on under another key, as {CLEO.statement.node_id[:8]}"
    assert (last[1].name, last[1].kind) == ("Ben", "of the future")
    assert last[1].says == "something of a kind that this version does not know"


def test_what_is_voted_on() -> None:
    """Each step in its own words."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)

    def says(ballot: Ballot) -> str:
        entry: Entry = write_entry(ANNA.seed, ledger.community, ledger.next_place(ANNA.public), ballot)
        ledger.add(entry)
        return told(ledger)[-1].says

    short = VALUE.hex()[:12]
    assert says(Proposal("promote", BEN.public, "")) == f"proposes to promote Ben ({BEN.statement.node_id[:8]})"
    assert says(Vote(SLOT, 0, VALUE)) == f"votes on epoch 3, round 0, for {short}"
    assert says(Vote(SLOT, 1, None)) == "votes on epoch 3, round 1, for none of them"
    assert says(Lock(SLOT, 1, VALUE, ())) == f"is bound on epoch 3, round 1, to {short}"
    assert says(Commit(SLOT, 1, VALUE, ())) == f"writes down that epoch 3 is decided: {short}"

"""What decisions fix, and what voters say of it: one tree on all nodes, signed by those who hold it."""

from dataclasses import replace

import pytest

from mesh.core import merkle, notes
from mesh.core.attestation import Attestation, parse_attestation
from mesh.core.ballots import MAKE_VOTER, REFRESH, SHOW_OUT, Amendment
from mesh.core.entries import Entry
from mesh.core.ledger import CHECKPOINT_EVERY, Ledger
from mesh.core.notes import Checkpoint
from mesh.core.record import checkpoint_of, leaf_of, note_of
from mesh.core.tree_order import fixed
from mesh.errors import MalformedError
from tests.mesh.core.council import agree, amended, decided, folded, proposed, refreshed, roles, voters
from tests.mesh.core.world import Person, copy_of

ANNA, BEN, CLEO, DARA = (Person(name) for name in ("Anna", "Ben", "Cleo", "Dara"))


def latest(ledger: Ledger, back: int = 0) -> Checkpoint:
    """The tree at the last decision, or at one before that."""
    ids = ledger.membership().decided
    return checkpoint_of(fixed(ledger.entries, ids[: len(ids) - back]))


def attests(ledger: Ledger, person: Person, checkpoint: Checkpoint | None = None) -> Entry:
    """Have somebody sign what the last decision fixed, or something else."""
    said = checkpoint or latest(ledger)
    return person.signs(ledger, Attestation.of(ledger.membership().decided[-1], said, person.seed))


def test_each_decision_goes_on_from_the_one_before() -> None:
    """Whoever kept a checkpoint can be shown that nothing below it has been rewritten."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    old = latest(ledger)
    for person in (ANNA, BEN, CLEO):
        attests(ledger, person)
    ANNA.admits(ledger, DARA)
    decided(ledger, [ANNA, BEN, CLEO], MAKE_VOTER, DARA)
    new, leaves = latest(ledger), [leaf_of(entry) for entry in fixed(ledger.entries, ledger.membership().decided)]
    assert old.size < new.size < len(ledger)
    proof = merkle.consistency_proof(leaves, old.size)
    merkle.verify_consistency(old.size, old.root, size=new.size, root=new.root, proof=proof)
    assert new.origin == notes.key_name(ledger.community) == old.origin
    assert latest(ledger, back=1) == old


def test_all_voters_sign_one_note() -> None:
    """Each by an entry of its own; who does not vote, or signs for somebody else's tree, adds nothing to it."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    ANNA.admits(ledger, DARA)
    assert ledger.attestations() == []
    for person in (ANNA, BEN, CLEO, DARA):
        attests(ledger, person)
    assert {seat for seat, _ in ledger.attestations()} == {ANNA.public, BEN.public, CLEO.public}
    note = note_of(latest(ledger), [entry for _, entry in ledger.attestations()])
    signers = note.signers([ANNA.public, BEN.public, CLEO.public], name=notes.key_name(ledger.community))
    assert set(signers) == {ANNA.public, BEN.public, CLEO.public}
    refreshed(ledger, [ANNA, BEN, CLEO])
    assert ledger.attestations() == []


def test_who_signs_another_tree_is_seen_to() -> None:
    """Another root, another size, or a signature over something else: it is kept, and no line of the note."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    true = latest(ledger)
    attests(ledger, ANNA)
    attests(ledger, BEN, replace(true, root=bytes(32)))
    forged = Attestation(ledger.membership().decided[-1], true.size, true.root, bytes(64))
    CLEO.signs(ledger, forged)
    assert len(ledger.attestations()) == 3
    note = note_of(true, [entry for _, entry in ledger.attestations()])
    assert note.signers([ANNA.public], name=true.origin) == (ANNA.public,)
    smaller = Attestation.of(ledger.membership().decided[-1], replace(true, size=1), CLEO.seed)
    assert not smaller.is_for(true, by=CLEO.public)


def test_a_voter_that_goes_on_under_a_new_key_signs_for_its_seat() -> None:
    """What it says counts for the same seat."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    BEN.becomes(ledger, DARA)
    attests(ledger, DARA)
    assert [seat for seat, _ in ledger.attestations()] == [BEN.public]


def test_much_that_nothing_fixed_yet_is_reason_for_a_decision() -> None:
    """One that needs nobody's consent; then the count begins anew."""
    ledger = voters(ANNA.founds(budget=5000), ANNA, BEN)
    refresh = proposed(ledger, ANNA, REFRESH)
    assert (ledger.needs_refresh, ledger.motions()) == (False, [])
    while not ledger.needs_refresh:
        ANNA.admits(ledger, CLEO)
    assert CHECKPOINT_EVERY <= len(ledger) < CHECKPOINT_EVERY + 20
    assert [(motion.id, motion.is_routine) for motion in ledger.motions()] == [(refresh.id, True)]
    assert copy_of(ledger).needs_refresh
    agree(ledger, [ANNA, BEN], proposed(ledger, BEN, REFRESH))
    assert (ledger.needs_refresh, ledger.motions()) == (False, [])
    assert latest(ledger).size > CHECKPOINT_EVERY


def test_an_eclipse_ends_in_an_alarm() -> None:
    """Dishonest voters show two honest halves different decisions: when these meet, both know that they are forked."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO, DARA)
    one, two = copy_of(ledger), copy_of(ledger)
    for side, honest in ((one, BEN), (two, CLEO)):
        amended(side, [ANNA, honest, DARA], Amendment(0, 0, 7, f"said to {honest.name}"))
        attests(side, honest)
        assert (folded(side).rivals, side.attestations() != []) == ((), True)
    assert latest(one) != latest(two)
    for side, other in ((one, copy_of(two)), (two, copy_of(one))):
        for entry in other.entries:
            side.add(entry)
    assert len(folded(one).rivals) == 2
    assert folded(one) == folded(two)
    assert latest(one) == latest(ledger)


def test_a_newcomer_shown_an_old_history_learns_the_rest() -> None:
    """Who was shown out lets somebody in to what it was part of; the first honest member sets that right."""
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    old = copy_of(ledger)
    decided(ledger, [ANNA, BEN, CLEO], SHOW_OUT, CLEO)
    CLEO.admits(old, DARA)
    assert roles(folded(old))["Dara"] == "observer"
    for entry in ledger.missing_at(old.heads()):
        old.add(entry)
    assert roles(folded(old)) == {"Anna": "voter", "Ben": "voter"}


@pytest.mark.parametrize(
    "items", [[], [bytes(32), 1, bytes(32)], [bytes(32), 1, bytes(32), bytes(64), 0], [[], 1, bytes(32), bytes(64)]]
)
def test_another_body_is_refused(items: list[object]) -> None:
    """At its number of fields, or at their types."""
    try:
        assert parse_attestation(items) is None  # type: ignore[arg-type]
    except MalformedError:
        assert len(items) == 4

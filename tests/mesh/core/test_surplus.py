"""Nobody fills others' ledgers: whose entries are taken, and what is more than anybody is owed."""

import random
from itertools import pairwise

import pytest

from mesh.core.ballots import MAKE_VOTER, Recovery
from mesh.core.entries import Admit, Entry, Place, Remove, RotateKey, write_entry
from mesh.core.ledger import LAST_WORDS_BYTES, MAX_FEED_BYTES, MAX_VOTER_FEED_BYTES, Ledger
from mesh.core.membership import OBSERVER
from mesh.core.roll import fold
from mesh.core.surplus import FEEDS
from tests.mesh.core.council import decided, folded, refreshed, roles, voters
from tests.mesh.core.world import Person, copy_of, of_the_future

ANNA, BEN, CLEO, DARA, ELI = (Person(name) for name in ("Anna", "Ben", "Cleo", "Dara", "Eli"))


@pytest.fixture
def ledger() -> Ledger:
    """Anna's community, with Ben and Cleo."""
    ledger = ANNA.founds()
    for person in (BEN, CLEO):
        ANNA.admits(ledger, person)
    return ledger


def fork(ledger: Ledger, person: Person, count: int, size: int = 4000) -> list[Entry]:
    """Sign so many entries for one place."""
    place = ledger.next_place(person.public)
    entries = [of_the_future(person, ledger, size + number, place=place) for number in range(count)]
    for entry in entries:
        ledger.add(entry)
    return entries


def owed(ledger: Ledger, person: Person) -> int:
    """The bytes of somebody's entries that are no surplus."""
    mine = (entry for entry in ledger.entries if entry.author == person.public and not ledger.is_surplus(entry))
    return sum(len(entry.raw) for entry in mine)


def test_ledger_strangers_of_strangers_add_nothing_in_any_order(ledger: Ledger) -> None:
    """An observer lets in forty, who let in forty each: what it signed is kept, what they signed is not."""
    brood = [Person(f"stranger {number}") for number in range(40)]
    signed = [BEN.admits(ledger, one) for one in brood]
    size = len(ledger)
    elsewhere = {
        one.public: write_entry(one.seed, ledger.community, Place(0, None, (signed[-1].id,)), _letting_in(one))
        for one in brood
    }
    for entry in elsewhere.values():
        assert ledger.add(entry) == []
    assert len(ledger) == size
    assert roles(folded(ledger)) == {"Anna": "voter", "Ben": "observer", "Cleo": "observer"}
    # Their entries are taken as soon as he has a vote, as he might have had when he let them in: whatever comes first.
    decided(ledger, [ANNA], MAKE_VOTER, BEN)
    assert all(entry.id in ledger for entry in elsewhere.values())
    shuffled = [*ledger.entries]
    for seed in range(20):
        random.Random(seed).shuffle(shuffled)  # noqa: S311  the same each time
        other = Ledger(ledger.genesis)
        for entry in shuffled:
            other.add(entry)
        assert set(other.entries) == set(ledger.entries)
        assert other.membership() == fold(ledger.entries)


def _letting_in(person: Person) -> Admit:
    other = Person(f"let in by {person.name}")
    return Admit(other.statement, other.name, OBSERVER)


def test_who_is_chosen_is_heard_whoever_let_it_in(ledger: Ledger) -> None:
    """Voters can give a seat to whom only an observer brought."""
    BEN.admits(ledger, DARA)
    assert ledger.add(of_the_future(DARA, ledger, 1)) == []
    decided(ledger, [ANNA], MAKE_VOTER, DARA)
    assert DARA.publishes(ledger, "tiny").id in ledger


def test_two_feeds_are_owed_and_a_third_is_not(ledger: Ledger) -> None:
    """A copied board signs two feeds of whatever length; who signs more is kept to as much as both may hold."""
    place = ledger.next_place(BEN.public)
    sides = [copy_of(ledger) for _ in range(2)]
    for number, side in enumerate(sides):
        BEN.signs(side, Remove(DARA.public, str(number)), place=place)
        while side.add(of_the_future(BEN, side, 1000)):
            pass
        for entry in side.entries:
            ledger.add(entry)
    assert not any(ledger.is_surplus(entry) for entry in ledger.entries)
    more = BEN.signs(ledger, Remove(DARA.public, "x" * 199), place=place)
    forks = [BEN.signs(ledger, Remove(DARA.public, f"{number}" + "x" * 190), place=place) for number in range(20)]
    assert all(entry.id in ledger for entry in [more, *forks])
    assert ledger.is_surplus(forks[-1])
    assert owed(ledger, BEN) <= FEEDS * MAX_FEED_BYTES


def test_a_person_is_owed_the_same_under_all_its_keys(ledger: Ledger) -> None:
    """Whoever rotates again and again has no more room for it."""
    keys = [BEN, *(Person(f"key {number}") for number in range(12))]
    for old, new in pairwise(keys):
        ledger.add(of_the_future(old, ledger, 9000))
        old.becomes(ledger, new)
    assert len(ledger) == 3 + 24
    assert sum(owed(ledger, key) for key in keys) <= FEEDS * MAX_FEED_BYTES
    assert ledger.is_surplus(ledger.entries[-1])


def test_nothing_is_built_on_surplus_until_somebody_did(ledger: Ledger) -> None:
    """Then it is as good as any other, since whoever wants what was built on it must have it."""
    forks = fork(ledger, BEN, 30)
    last = forks[-1]
    assert ledger.is_surplus(last)
    assert sum(ledger.is_surplus(one) for one in forks) > 20
    on_top = of_the_future(BEN, ledger, 10, place=Place(last.seq + 1, last.id, ()))
    ledger.add(on_top)
    for person in (CLEO, ANNA):
        for _ in range(3):
            entry = person.publishes(ledger, "tiny")
            assert not any(ledger.is_surplus(one) for one in ledger.entries if one.id in entry.deps)
            branches = sum(one.author == BEN.public for one in ledger.entries if one.id in entry.deps)
            assert branches <= 1 or person is ANNA  # a voter's decisions take up all that is owed
    place = ledger.next_place(CLEO.public)
    CLEO.publishes(ledger, "another", place=Place(place.seq, place.prev, (on_top.id,)))
    assert not ledger.is_surplus(last)
    assert not ledger.is_surplus(on_top)
    assert set(ledger.pop_released()) == {last, on_top}
    assert ledger.pop_released() == []
    assert not {last.id, on_top.id} & {*ledger.next_place(ANNA.public).deps}


def test_a_flood_does_not_hide_that_a_voter_has_left() -> None:
    """Else the others' boards would take up what nobody can build on, again and again, until their feeds are full."""
    for body in (RotateKey(BEN.public, Person("a key").statement), Remove(BEN.public, "left")):
        ledger = voters(ANNA.founds(), ANNA, BEN, CLEO, DARA)
        ANNA.admits(ledger, ELI)
        place = ledger.next_place(BEN.public)
        for number in range(20):
            ledger.add(of_the_future(BEN, ledger, 60_000 + number, place=place))
        last = BEN.signs(ledger, body, place=place)
        mark = ledger.mark()
        assert ledger.is_surplus(last)
        assert folded(ledger).is_stale
        assert last.id not in ledger.next_place(ELI.public).deps
        assert last.id in ledger.next_place(ANNA.public).deps
        assert not refreshed(ledger, [ANNA, CLEO, DARA]).is_stale
        assert not ledger.is_surplus(last)
        assert last.id not in ledger.next_place(ANNA.public).deps
        ledger.back_to(mark)
        assert last.id in ledger.next_place(ANNA.public).deps


def test_surplus_comes_last_and_a_newcomer_gets_none(ledger: Ledger) -> None:
    """Only what fits an admission of the forks that are owed; and all that members signed without forking."""
    forks = fork(ledger, BEN, 60, size=12_000)
    for person in (ANNA, CLEO):
        person.publishes(ledger, "tiny")
    order = [ledger.is_surplus(entry) for entry in ledger.missing_at([])]
    assert order == sorted(order)
    removal = BEN.signs(ledger, Remove(DARA.public, "rather soon"), place=Place(0, None, forks[-1].deps))
    assert [*map(ledger.is_surplus, ledger.missing_at([]))].index(True) == ledger.missing_at([]).index(removal)
    forks.append(removal)
    everything = ledger.for_newcomer(10**9)
    assert len(everything) == len(ledger) - sum(ledger.is_surplus(one) for one in forks)
    few = ledger.for_newcomer(sum(len(entry.raw) for entry in ledger.entries if entry.author != BEN.public) + 25_000)
    assert [entry for entry in few if entry.author != BEN.public] == [
        entry for entry in ledger.entries if entry.author != BEN.public
    ]
    begun = Ledger(few[0])
    for entry in few[1:]:
        assert begun.add(entry) == [entry]
    assert begun.membership().members == ledger.membership().members


def test_what_is_surplus_among_others_is_told_before_it_is_taken(ledger: Ledger) -> None:
    """Also of authors that the same entries bring in, of what waits, and of whom nobody knows; not what is built on."""
    place, elsewhere = ledger.next_place(BEN.public), copy_of(ledger)
    forks = [of_the_future(BEN, ledger, 12_000 + number, place=place) for number in range(5)]
    assert ledger.surplus_among(forks[:2]) == set()
    assert ledger.surplus_among(forks) == {entry.id for entry in forks[2:]}
    on_top = CLEO.publishes(elsewhere, "tiny", place=Place(0, None, (forks[4].id,)))
    assert ledger.surplus_among([*forks, on_top]) == {entry.id for entry in forks[2:4]}
    admit = ANNA.admits(elsewhere, DARA)
    news = [admit, DARA.publishes(elsewhere, "tiny"), DARA.becomes(elsewhere, ELI), ELI.publishes(elsewhere, "small")]
    assert ledger.surplus_among(news) == set()
    assert ledger.surplus_among(news[1:]) == {entry.id for entry in news[1:]}
    orphans = [of_the_future(BEN, ledger, 12_000 + n, place=Place(9, b"?" * 32, ())) for n in range(2)]
    for entry in orphans:
        assert ledger.add(entry) == []
    assert ledger.surplus_among(forks[:1]) == {forks[0].id}


def test_a_thief_that_floods_with_a_voters_key_keeps_no_paper_from_counting() -> None:
    """The paper has room of its own, and others build on what it signs."""
    paper = Person("Ben's paper")
    ledger = voters(ANNA.founds(), ANNA, BEN, CLEO)
    BEN.signs(ledger, Recovery(paper.public))
    refreshed(ledger, [ANNA, BEN, CLEO])
    fork(ledger, BEN, FEEDS * MAX_VOTER_FEED_BYTES // 16_000 + 10, size=16_000)
    assert any(ledger.is_surplus(entry) for entry in ledger.entries)
    ANNA.admits(ledger, DARA)
    rotation = paper.signs(ledger, RotateKey(BEN.public, DARA.statement))
    assert not ledger.is_surplus(rotation)
    assert rotation.id in ledger.next_place(ANNA.public).deps
    membership = refreshed(ledger, [ANNA, CLEO, DARA])
    assert [seat.key for seat in membership.charter.seats] == [ANNA.public, DARA.public, CLEO.public]


def test_papers_without_end_are_owed_little() -> None:
    """Those that papers name share with the first one."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    papers = [Person(f"paper {number}") for number in range(30)]
    BEN.signs(ledger, Recovery(papers[0].public))
    for old, new in pairwise(papers):
        old.signs(ledger, Recovery(new.public))
        ledger.add(of_the_future(old, ledger, 2000))
    assert papers[-2].public in {entry.author for entry in ledger.entries}
    assert sum(owed(ledger, paper) for paper in papers) <= FEEDS * LAST_WORDS_BYTES


def test_what_is_taken_back_is_surplus_no_more(ledger: Ledger) -> None:
    """As if it had never come: the same entries are surplus when they come again."""
    mark, place = ledger.mark(), ledger.next_place(ANNA.public)
    forks = fork(ledger, BEN, 20)
    before = [ledger.is_surplus(entry) for entry in forks]
    ledger.back_to(mark)
    assert ledger.next_place(ANNA.public) == place
    assert ledger.surplus_among(forks[:2]) == set()
    for entry in forks:
        ledger.add(entry)
    assert [ledger.is_surplus(entry) for entry in forks] == before
    assert any(before)

"""Which models a record publishes and retires; docs/governance.md has the rules in plain words."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.core.governance import PublishedModel, fold_models, may_publish, may_retire
from mesh.core.ledger import Ledger
from mesh.core.roll import fold
from mesh.core.standing import Standing
from tests.device.core.histories import ANNA, BEN, CLEO, DARA, PEOPLE, Step, lived, shuffled, steps
from tests.mesh.core.world import Person, copy_of, digest_of


def folded(ledger: Ledger) -> dict[bytes, PublishedModel]:
    """What a ledger says of models."""
    return {**fold_models(ledger.entries, Standing(ledger.entries, fold(ledger.entries)))}


def publishers(ledger: Ledger, model: str = "tiny") -> list[str]:
    """Who publishes a model; nobody if it is retired."""
    found = folded(ledger)[digest_of(model)]
    names = {person.public: person.name for person in PEOPLE}
    return sorted(names[one.publisher] for one in found.publications) if found.retirement is None else []


def reason(ledger: Ledger, model: str = "tiny") -> str | None:
    """Why a model is retired."""
    retirement = folded(ledger)[digest_of(model)].retirement
    return None if retirement is None else retirement.reason


@pytest.fixture
def ledger() -> Ledger:
    """Anna's community, with Ben and Cleo."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    ANNA.admits(ledger, CLEO)
    return ledger


def test_any_member_publishes(ledger: Ledger) -> None:
    """One by one and several the same; a stranger does not."""
    assert folded(ledger) == {}
    BEN.publishes(ledger, "tiny")
    CLEO.publishes(ledger, "tiny")
    BEN.admits(ledger, DARA)
    DARA.publishes(ledger, "other")
    assert list(folded(ledger)) == [digest_of("tiny")]
    assert publishers(ledger) == ["Ben", "Cleo"]
    assert folded(ledger)[digest_of("tiny")].name == "tiny"


def test_the_last_word_of_each_publisher_counts(ledger: Ledger) -> None:
    """As after its card was changed."""
    BEN.publishes(ledger, "tiny")
    BEN.publishes(ledger, "tiny", release="another card")
    [one] = folded(ledger)[digest_of("tiny")].publications
    assert (one.release, one.licence) == (digest_of("another card"), "CC0-1.0")


def test_a_publisher_takes_its_own_word_back(ledger: Ledger) -> None:
    """Of several publishers only that one does; who retired a model may publish it again."""
    BEN.publishes(ledger, "tiny")
    CLEO.publishes(ledger, "tiny")
    BEN.retires(ledger, "tiny", "too slow")
    assert (publishers(ledger), reason(ledger)) == (["Cleo"], None)
    CLEO.retires(ledger, "tiny", "too large")
    assert publishers(ledger) == []
    assert reason(ledger) in ("too slow", "too large")
    BEN.publishes(ledger, "tiny")
    assert (publishers(ledger), reason(ledger)) == (["Ben"], None)


def test_a_voter_takes_everyones_word_back(ledger: Ledger) -> None:
    """Also what is published later by whoever does not vote, until a voter publishes it again."""
    BEN.publishes(ledger, "tiny")
    CLEO.publishes(ledger, "tiny")
    ANNA.retires(ledger, "tiny", "it lies")
    assert (publishers(ledger), reason(ledger)) == ([], "it lies")
    BEN.publishes(ledger, "tiny")
    assert (publishers(ledger), reason(ledger)) == ([], "it lies")
    ANNA.publishes(ledger, "tiny")
    assert publishers(ledger) == ["Anna", "Ben", "Cleo"]
    ANNA.retires(ledger, "tiny", "it still lies")
    assert (publishers(ledger), reason(ledger)) == ([], "it still lies")


def test_the_voters_reason_is_shown(ledger: Ledger) -> None:
    """Before the publisher's own."""
    for number in range(4):
        model = f"model {number}"
        BEN.publishes(ledger, model)
        BEN.retires(ledger, model, "mine")
        ANNA.retires(ledger, model, "ours")
        assert reason(ledger, model) == "ours"


def test_anybody_elses_retirement_does_nothing(ledger: Ledger) -> None:
    """Neither that of another observer nor one of what nobody published."""
    BEN.publishes(ledger, "tiny")
    CLEO.retires(ledger, "tiny")
    CLEO.retires(ledger, "unheard of")
    assert publishers(ledger) == ["Ben"]
    assert list(folded(ledger)) == [digest_of("tiny")]


def test_a_retirement_outweighs_what_was_published_meanwhile(ledger: Ledger) -> None:
    """A voter's of every publisher's, on either side of a partition."""
    apart = copy_of(ledger)
    ANNA.retires(ledger, "tiny", "it lies")
    ledger.add(BEN.publishes(apart, "tiny"))
    assert (publishers(ledger), reason(ledger)) == ([], "it lies")


def test_what_a_member_published_stays_published_without_it(ledger: Ledger) -> None:
    """When it leaves, and when it is removed; what it signs afterwards does nothing."""
    BEN.publishes(ledger, "tiny")
    CLEO.publishes(ledger, "large")
    BEN.removes(ledger, BEN)
    ANNA.removes(ledger, CLEO)
    BEN.retires(ledger, "tiny")
    CLEO.publishes(ledger, "larger")
    assert (publishers(ledger), publishers(ledger, "large")) == (["Ben"], ["Cleo"])
    assert digest_of("larger") not in folded(ledger)


def test_a_forked_feed_publishes_nothing_from_there_on(ledger: Ledger) -> None:
    """And retires nothing."""
    BEN.publishes(ledger, "tiny")
    place = ledger.next_place(BEN.public)
    BEN.retires(ledger, "tiny", place=place)
    BEN.publishes(ledger, "other", place=place)
    assert list(folded(ledger)) == [digest_of("tiny")]
    assert publishers(ledger) == ["Ben"]


def test_a_new_key_retires_what_the_old_one_published(ledger: Ledger) -> None:
    """And publishes in its place; nobody gets that say by rotating to another's key."""
    BEN.publishes(ledger, "tiny")
    CLEO.publishes(ledger, "large")
    CLEO.retires(ledger, "tiny")
    CLEO.becomes(ledger, BEN)
    assert publishers(ledger) == ["Ben"]
    BEN.becomes(ledger, DARA)
    DARA.retires(ledger, "tiny", "too slow")
    assert reason(ledger) == "too slow"


def test_who_may_say_what(ledger: Ledger) -> None:
    """Told beforehand, so that nothing is signed that would not count."""
    BEN.publishes(ledger, "tiny")
    judge = Standing(ledger.entries, fold(ledger.entries))
    model = folded(ledger)[digest_of("tiny")]
    assert [may_retire(one.public, model, judge) for one in (ANNA, BEN, CLEO)] == [True, True, False]
    assert may_publish(CLEO.public, None, judge)
    assert may_publish(CLEO.public, model, judge)
    BEN.retires(ledger, "tiny")
    assert may_publish(CLEO.public, folded(ledger)[digest_of("tiny")], judge)
    ANNA.retires(ledger, "tiny")
    gone = folded(ledger)[digest_of("tiny")]
    assert [may_publish(one.public, gone, judge) for one in (ANNA, BEN, CLEO)] == [True, False, False]


def says(ledger: Ledger, person: Person, what: str, which: int, side: int, _number: int) -> None:
    """Have somebody publish or retire one of two models; with a fork, two for one place."""
    if what == "retire":
        person.retires(ledger, f"model {which % 2}", f"{side}")
        return
    place = ledger.next_place(person.public)
    person.publishes(ledger, f"model {which % 2}", place=place)
    if what == "fork":
        person.publishes(ledger, "fork", place=place)


@settings(max_examples=150, deadline=None)
@given(steps("publish", "publish", "retire"), st.randoms(use_true_random=False))
def test_ledger_any_order_gives_the_same_models(drawn: list[Step], rng: random.Random) -> None:
    """However entries arrive, and however often, whoever signs what: the same set says the same."""
    ledger = lived(drawn, says)
    entries = shuffled(ledger, rng)
    judge = Standing(entries, fold(entries))
    expected = folded(ledger)
    assert fold_models(entries, judge) == expected
    original = Standing(ledger.entries, fold(ledger.entries))
    assert [judge.counts(entry) for entry in entries] == [original.counts(entry) for entry in entries]
    for model in expected.values():
        assert all(may_retire(one.publisher, model, judge) for one in model.publications)

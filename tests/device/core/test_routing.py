"""Who answers a question."""

import pytest

from device.api_of_models import HeldModel
from device.core.routing import Candidate, Route, choose_route, choose_successor, find_model, find_node
from device.errors import AmbiguousNodeError, NodeUnreachableError, NoSuchModelError, NoSuchNodeError

SMALL = HeldModel(name="small", digest="5a" * 32, size_bytes=10)
LARGE = HeldModel(name="large", digest="5b" * 32, size_bytes=99)
HERE_ID, EMBER_ID, SPARK_ID = "here" + "a" * 48, "ember" + "a" * 47, "embes" + "a" * 47


def candidate(node_id: str, *models: HeldModel, hops: int = 1, running: int = 0) -> Candidate:
    """A node with these models."""
    return Candidate(node_id=node_id, name=node_id[:5], models=models, hops=hops, running=running)


def route(*neighbours: Candidate, model: str = "default", node: str = "auto", here: Candidate | None = None) -> Route:
    """Choose with `small` as the default model."""
    own = here or candidate(HERE_ID)
    return choose_route(model=model, node=node, default_model="small", here=own, neighbours=neighbours)


def test_the_own_model_comes_first() -> None:
    """A model that is here answers here, however idle the neighbours are."""
    chosen = route(candidate(EMBER_ID, SMALL), here=candidate(HERE_ID, SMALL))
    assert (chosen.node_id, chosen.local, chosen.model) == (HERE_ID, True, SMALL)


def test_a_neighbour_answers_what_is_not_here() -> None:
    """What is not here is asked of the neighbour that holds it."""
    chosen = route(candidate(SPARK_ID), candidate(EMBER_ID, SMALL), model="small", here=candidate(HERE_ID, LARGE))
    assert (chosen.node_id, chosen.node_name, chosen.local) == (EMBER_ID, "ember", False)


def test_the_least_busy_neighbour_answers_then_the_lowest_id() -> None:
    """Questions spread by what runs already; a tie is broken by the id, so that it is the same every time."""
    busy, idle = candidate(EMBER_ID, SMALL, running=1), candidate(SPARK_ID, SMALL)
    assert route(busy, idle).node_id == SPARK_ID
    assert route(idle, candidate(EMBER_ID, SMALL)).node_id == EMBER_ID


def test_the_nearer_neighbour_answers_however_busy() -> None:
    """Every hop is another node that works for this answer."""
    near, far = candidate(SPARK_ID, SMALL, hops=1, running=3), candidate(EMBER_ID, SMALL, hops=2)
    assert route(far, near).node_id == SPARK_ID
    assert route(far).node_id == EMBER_ID


def successor(*neighbours: Candidate, here: Candidate, without: set[str]) -> str | None:
    """Who goes on with an answer of `small`."""
    chosen = choose_successor(SMALL.digest, here=here, neighbours=neighbours, without=without)
    assert chosen is None or (chosen.model.digest == SMALL.digest and chosen.local == (chosen.node_id == HERE_ID))
    return chosen.node_id if chosen else None


def test_an_answer_goes_on_with_the_same_model_alone() -> None:
    """Another model of that name, or one named like the digest, does not do; nor does a node out of reach."""
    namesake = HeldModel(name="small", digest="5e" * 32, size_bytes=10)
    forged = HeldModel(name=SMALL.digest, digest="5f" * 32, size_bytes=10)
    others = (candidate("names" + "a" * 47, namesake, forged), candidate("faraa" + "a" * 47, SMALL, hops=0))
    here = candidate(HERE_ID, LARGE)
    assert successor(*others, here=here, without=set()) is None
    assert successor(*others, candidate(EMBER_ID, SMALL), here=here, without=set()) == EMBER_ID


def test_each_node_gets_one_turn_the_nearest_first_and_this_node_last() -> None:
    """Fewer hops, then fewer questions; who failed is not asked again."""
    near, far = candidate(SPARK_ID, SMALL, running=1), candidate(EMBER_ID, SMALL, hops=2)
    here = candidate(HERE_ID, SMALL)
    turns: list[str] = []
    while (chosen := successor(far, near, here=here, without=set(turns))) is not None:
        turns.append(chosen)
    assert turns == [SPARK_ID, EMBER_ID, HERE_ID]


def test_the_default_is_the_configured_model_where_it_is_held() -> None:
    """A neighbour with the configured default goes before an idler one with another model."""
    assert route(candidate(EMBER_ID, LARGE), candidate(SPARK_ID, SMALL, running=3)).model == SMALL
    assert route(candidate(EMBER_ID, LARGE)).model == LARGE


def test_a_node_may_be_asked_for() -> None:
    """By the beginning of its id, upper case or not; the own id means this node."""
    neighbours = (candidate(EMBER_ID, SMALL), candidate(SPARK_ID, LARGE))
    assert route(*neighbours, node="EMBES").node_id == SPARK_ID
    assert route(*neighbours, node=HERE_ID[:4], here=candidate(HERE_ID, SMALL)).local
    assert route(*neighbours, node="local", here=candidate(HERE_ID, SMALL)).node_id == HERE_ID


@pytest.mark.parametrize(
    ("model", "node", "error", "words"),
    [
        ("absent", "auto", NoSuchModelError, "no model 'absent' here or in reach; there is large, small"),
        ("absent", "local", NoSuchModelError, "on this node; there is small"),
        ("absent", EMBER_ID, NoSuchModelError, "at ember"),
        ("small", "zzzz", NoSuchNodeError, "zzzz"),
        ("small", "em", NoSuchNodeError, "4 characters"),
        ("small", "embe", AmbiguousNodeError, "ember (emberaaa) or embes (embesaaa)"),
        ("far", "auto", NodeUnreachableError, "far is held by faraa (faraaaaa), out of reach"),
        ("far", "faraa", NodeUnreachableError, "faraa (faraaaaa) is out of reach"),
    ],
)
def test_a_clear_no(model: str, node: str, error: type[Exception], words: str) -> None:
    """Every way not to find an answerer has its own error, which says what there is."""
    far = HeldModel(name="far", digest="5c" * 32, size_bytes=1)
    neighbours = (
        candidate(EMBER_ID, LARGE),
        candidate(SPARK_ID),
        candidate("faraa" + "a" * 47, far, hops=0),
    )
    with pytest.raises(error) as raised:
        route(*neighbours, model=model, node=node, here=candidate(HERE_ID, SMALL))
    assert words in str(raised.value)


def test_nothing_anywhere_says_how_to_get_one() -> None:
    """Without any model the hint names both ways to one."""
    with pytest.raises(NoSuchModelError, match="there is no model here or in reach") as raised:
        route()
    assert "pull" in raised.value.hint
    assert "join" in raised.value.hint


def test_a_model_goes_by_name_digest_or_its_beginning() -> None:
    """Eight characters of a digest are enough unless two models share them."""
    twin = HeldModel(name="twin", digest="5a" * 31 + "ff", size_bytes=1)
    assert find_model((SMALL, LARGE), LARGE.digest, "small") == LARGE
    assert find_model((SMALL, LARGE), LARGE.digest[:8], "small") == LARGE
    assert find_model((SMALL, LARGE), LARGE.digest[:7], "small") is None
    assert find_model((SMALL, twin), SMALL.digest[:8], "small") is None
    assert find_model((), "default", "small") is None


def test_a_full_id_is_never_ambiguous() -> None:
    """An id that another begins with finds its own node."""
    nodes = [candidate("abcd"), candidate("abcde")]
    assert find_node("abcd", nodes).node_id == "abcd"

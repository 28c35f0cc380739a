"""What the nodes in reach hold, in one list."""

from dataclasses import replace

from device.api_of_models import HeldModel, Holder, MeshModel, MeshModels
from device.api_of_record import OnRecord
from device.core.fitting import Room
from device.core.mesh_catalogue import MAX_HOLDERS, MAX_LISTED, mesh_catalogue, with_record
from device.core.routing import Candidate

ROOM = Room(store_bytes=10**12, cache_bytes=10**12, shared=True, memory_bytes=10**9)


def _held(name: str, digest: str, size: int = 1000) -> HeldModel:
    return HeldModel(name=name, digest=digest * 64, size_bytes=size)


def _node(name: str, *models: HeldModel, hops: int = 1) -> Candidate:
    return Candidate(node_id=name, name=name, models=models, hops=hops)


def test_a_model_is_listed_once_with_who_has_it() -> None:
    """The nearest first; who is out of reach has nothing; this node's name for it counts."""
    here = _node("here", _held("mine", "a"), hops=0)
    far, near = _node("far", _held("his", "a"), _held("b", "b"), hops=3), _node("near", _held("hers", "a"))
    gone = _node("gone", _held("c", "c"), hops=0)
    models, left_out = mesh_catalogue(here, [far, near, gone], room=ROOM)
    assert left_out == 0
    assert [(model.name, model.here, model.holder_count) for model in models] == [("b", False, 1), ("mine", True, 2)]
    assert models[1].holders == (
        Holder(node_id="near", name="near", hops=1),
        Holder(node_id="far", name="far", hops=3),
    )


def test_one_that_is_not_here_has_the_nearest_holders_name() -> None:
    """A node that has two names for it counts once."""
    near = _node("near", _held("one", "a"), _held("two", "a"))
    models, _ = mesh_catalogue(_node("here", hops=0), [_node("far", _held("x", "a"), hops=2), near], room=ROOM)
    assert [(model.name, model.holder_count) for model in models] == [("one", 2)]


def test_the_nearest_holders_licence_counts_and_anybody_may_pass_it_on() -> None:
    """One that keeps it to itself stands in nobody's way."""
    near = _node("near", replace(_held("m", "a"), licence="MIT", passed_on=False))
    far = _node("far", replace(_held("m", "a"), licence="unknown"), hops=2)
    (model,), _ = mesh_catalogue(_node("here", hops=0), [far, near], room=ROOM)
    assert (model.licence, model.passed_on) == ("MIT", True)
    (model,), _ = mesh_catalogue(_node("here", hops=0), [near], room=ROOM)
    assert not model.passed_on


def test_what_will_not_fit_is_said() -> None:
    """By the largest size that is told; of what is here nothing need be said."""
    here = _node("here", _held("mine", "a", 10**10), hops=0)
    liar = _node("liar", _held("big", "b", 1))
    models, _ = mesh_catalogue(here, [liar, _node("near", _held("big", "b", 10**10))], room=ROOM)
    big, mine = models
    assert big.size_bytes == 10**10
    assert [text.split(",")[0] for text in big.shortfalls] == ["needs about 12.6 GB of memory"]
    assert mine.shortfalls == ()
    assert big.disk_bytes == 4 * 10**10


def test_the_list_is_bounded() -> None:
    """And it is said how many are missing."""
    crowd = [
        _node(f"n{number}", *(HeldModel(name=f"m{i}", digest=f"{i:064x}", size_bytes=1) for i in range(MAX_LISTED + 7)))
        for number in range(MAX_HOLDERS + 5)
    ]
    models, left_out = mesh_catalogue(_node("here", hops=0), crowd, room=ROOM)
    assert (len(models), left_out) == (MAX_LISTED, 7)
    assert len(models[0].holders) == MAX_HOLDERS
    assert models[0].holder_count == MAX_HOLDERS + 5


def test_what_the_record_says_is_added() -> None:
    """Of the models it speaks of."""
    one, other = (MeshModel(name=name, digest=name * 8, size_bytes=1) for name in ("a", "b"))
    said = OnRecord(name="b", digest=other.digest, licence="MIT", published_by=("ember",), retired="by ember")
    found = with_record(MeshModels(models=(one, other), left_out=2), {other.digest: said})
    assert found == MeshModels(models=(one, replace(other, published_by=("ember",), retired="by ember")), left_out=2)

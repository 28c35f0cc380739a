"""Models go from node to node: whole, checked, from all who have some of it, whatever happens on the way."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from device.api_of_models import PullProgress, Removed
from device.core.sharing_messages import GiveChunk, WantChunks
from device.errors import NoHolderError, NotSharedError, StrangersReleaseError
from mesh.node import Received
from mesh.publishing import verify
from models.cards import Cards
from models.core.card import Card
from models.core.hash_tree import CHUNK_BYTES
from models.core.manifest import Manifest
from models.errors import QuotaExceededError
from models.store import StoredModel
from tests.models.waiting import until
from tests.sim.mesh_net import SimulatedNet
from tests.sim.sharing_home import CHUNKS, FREE, SIZE, Sharer, street


@pytest.fixture
def net() -> SimulatedNet:
    """A net without nodes."""
    return SimulatedNet()


def content(home: Sharer, model: StoredModel) -> bytes:
    """What lies in a store as the model's weights."""
    return home.store.path(model.manifest.gguf).read_bytes()


async def test_a_model_comes_from_a_neighbour(tmp_path: Path, net: SimulatedNet) -> None:
    """Every chunk once, under the name that was asked for, with what its publisher signed."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds()
    async with ember.open(), spark.open():
        got, _ = await spark.pulls(model, name="mine")
        assert (got.name, got.digest, got.licence) == ("mine", model.digest, "CC0-1.0")
        assert content(spark, got) == content(ember, model)
        assert sorted(ember.asked_for()) == list(range(CHUNKS))
        assert spark.arrived == [got]
        assert not any((spark.store.root / "arrivals").iterdir())
        releases = [(one.store.root / "releases" / f"{model.digest}.json").read_bytes() for one in (ember, spark)]
        assert releases[0] == releases[1]


async def test_it_goes_on_from_there(tmp_path: Path, net: SimulatedNet) -> None:
    """Who has fetched a model gives it on, with the release of whoever published it."""
    ember, spark, attic = street(net, tmp_path, "ember", "spark", "attic")
    model = ember.holds()
    async with ember.open(), spark.open(), attic.open():
        await spark.pulls(model)
        net.cut(ember.mesh, attic.mesh)
        got, _ = await attic.pulls(model)
        assert content(attic, got) == content(ember, model)
        assert len(spark.asked_for()) >= CHUNKS


async def test_all_who_hold_it_give_it(tmp_path: Path, net: SimulatedNet) -> None:
    """Nobody does all the work."""
    ember, attic, spark = street(net, tmp_path, "ember", "attic", "spark")
    model = ember.holds(size=8 * SIZE)
    attic.holds(size=8 * SIZE)
    async with ember.open(bytes_per_s=20e6), attic.open(bytes_per_s=20e6), spark.open():
        await spark.pulls(model)
        assert min(len(ember.asked_for()), len(attic.asked_for())) >= CHUNKS


async def test_who_is_still_fetching_gives_what_it_has(tmp_path: Path, net: SimulatedNet) -> None:
    """The holder is out of the third one's reach."""
    ember, spark, attic = street(net, tmp_path, "ember", "spark", "attic")
    model = ember.holds()
    net.cut(ember.mesh, attic.mesh)
    async with ember.open(bytes_per_s=2e6), spark.open(), attic.open():
        first = asyncio.create_task(spark.pulls(model))
        await until(lambda: len(ember.asked_for()) > 2)
        got, _ = await attic.pulls(model)
        await first
        assert content(attic, got) == content(ember, model)


async def test_two_who_begin_together_get_different_parts_from_the_start(tmp_path: Path, net: SimulatedNet) -> None:
    """Alone, a node asks in the order of the file; not any more once it is asked what it holds."""
    ember, spark, attic = street(net, tmp_path, "ember", "spark", "attic")
    model = ember.holds(size=3 * SIZE)
    async with ember.open(bytes_per_s=10e6), spark.open(), attic.open():
        first = asyncio.create_task(spark.pulls(model))
        await until(lambda: len(ember.asked_for()) > 2)
        alone = ember.asked_for()
        await attic.pulls(model)
        await first
        by_spark = ember.asked_for(spark)
    assert alone == sorted(alone)
    assert by_spark != sorted(by_spark)


async def test_lost_messages_are_asked_for_again(tmp_path: Path, net: SimulatedNet) -> None:
    """Of bulk messages any may be lost; here every eleventh is."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds()
    numbers = iter(range(10**6))
    net.lost = lambda _: next(numbers) % 11 == 9
    async with ember.open(), spark.open():
        got, _ = await spark.pulls(model)
        assert content(spark, got) == content(ember, model)


async def test_a_source_that_corrupts_is_asked_no_more(tmp_path: Path, net: SimulatedNet) -> None:
    """What it sends is never written, and the rest comes from elsewhere."""
    ember, liar, spark = street(net, tmp_path, "ember", "liar", "spark")
    model = ember.holds(size=4 * SIZE)
    liar.holds(size=4 * SIZE)
    deliver = spark.mesh.deliver

    def spoilt(received: Received) -> None:
        if received.peer == liar.mesh.node_id and received.kind == GiveChunk.KIND:
            received = dataclasses.replace(received, body=bytes(len(received.body)))
        deliver(received)

    spark.mesh.deliver = spoilt  # type: ignore[method-assign]
    async with ember.open(), liar.open(), spark.open():
        got, _ = await spark.pulls(model)
        assert content(spark, got) == content(ember, model)
        assert len(liar.asked_for()) < CHUNKS


async def test_a_stopped_pull_goes_on_where_it_was(tmp_path: Path, net: SimulatedNet) -> None:
    """Its owner stops it: after a restart nothing happens until it is asked for again; no chunk comes twice."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds()
    async with ember.open(bytes_per_s=3e6):
        async with spark.open():
            pull = spark.sharing.pull(model.digest, "tiny")
            async for step in pull:
                assert isinstance(step, PullProgress)
                if step.done > 2 * 256 * 1024:
                    break
            [arriving] = spark.sharing.arriving()
            assert (arriving.name, arriving.digest, arriving.stopped) == ("tiny", model.digest, False)
            await pull.aclose()
            [arriving] = spark.sharing.arriving()
            assert arriving.stopped
            assert 2 * 256 * 1024 < arriving.bytes_here < arriving.size_bytes == SIZE
        before = len(ember.asked_for())
        async with spark.open():
            await until(lambda: spark.sharing.arriving() != ())
            [again] = spark.sharing.arriving()
            assert (again.name, again.digest, again.stopped) == ("tiny", model.digest, True)
            assert again.bytes_here == arriving.bytes_here
            assert len(ember.asked_for()) == before
            got, _ = await spark.pulls(model)
            assert spark.sharing.arriving() == ()
        assert content(spark, got) == content(ember, model)
        assert len(ember.asked_for()) < CHUNKS + 10


async def test_what_is_given_up_leaves_nothing_behind(tmp_path: Path, net: SimulatedNet) -> None:
    """While it comes: whoever follows is told; and after a restart, when it was stopped."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds()
    arrivals = spark.store.root / "arrivals"

    async def begun() -> AsyncGenerator[PullProgress | Removed | StoredModel, None]:
        pull = spark.sharing.pull(model.digest, "tiny")
        async for step in pull:
            if isinstance(step, PullProgress) and step.done > 2 * CHUNK_BYTES:
                return pull
        raise AssertionError("it came too soon")

    async with ember.open(bytes_per_s=3e6):
        async with spark.open():
            pull = await begun()
            await spark.sharing.abandon(model.digest)
            with pytest.raises(NoHolderError, match="stopped; what had come is deleted"):
                await anext(pull)
            assert (spark.sharing.arriving(), list(arrivals.iterdir())) == ((), [])
            await (await begun()).aclose()
        async with spark.open():
            await until(lambda: spark.sharing.arriving() != ())
            await spark.sharing.abandon(model.digest)
            assert (spark.sharing.arriving(), list(arrivals.iterdir())) == ((), [])
            got, _ = await spark.pulls(model)
        assert content(spark, got) == content(ember, model)


async def test_what_was_on_its_way_goes_on_by_itself_after_a_restart(tmp_path: Path, net: SimulatedNet) -> None:
    """As after a power cut; also when nobody is in reach at first."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds()
    async with ember.open(bytes_per_s=3e6):
        async with spark.open():
            pull = spark.sharing.pull(model.digest, "mine")
            async for step in pull:
                if isinstance(step, PullProgress) and step.done > 2 * 256 * 1024:
                    break
            spark.sharing.stopping = True
            await pull.aclose()
        net.cut(ember.mesh, spark.mesh)
        async with spark.open():
            await asyncio.sleep(0.1)
            assert not spark.arrived
            net.link(ember.mesh, spark.mesh)
            await until(lambda: bool(spark.arrived), within_s=20)
            assert [(one.name, one.digest) for one in spark.arrived] == [("mine", model.digest)]


async def test_a_holder_that_goes_away_and_comes_back(tmp_path: Path, net: SimulatedNet) -> None:
    """The pull waits for it."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds()
    async with ember.open(bytes_per_s=3e6), spark.open():
        pulling = asyncio.create_task(spark.pulls(model))
        await until(lambda: len(ember.asked_for()) > 4)
        net.cut(ember.mesh, spark.mesh)
        await asyncio.sleep(0.5)
        assert not pulling.done()
        net.link(ember.mesh, spark.mesh)
        got, _ = await pulling
        assert content(spark, got) == content(ember, model)


async def test_a_stranger_is_not_believed(tmp_path: Path, net: SimulatedNet) -> None:
    """Whoever gives it: nothing is fetched, nothing is kept."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds()
    spark.publisher.believed = {spark.publisher.public}
    async with ember.open(), spark.open():
        with pytest.raises(StrangersReleaseError):
            await spark.pulls(model)
        assert not ember.asked_for()


@pytest.mark.parametrize("licence", ["unknown", "LicenseRef-proprietary"])
async def test_what_may_not_be_passed_on_is_not_given(tmp_path: Path, net: SimulatedNet, licence: str) -> None:
    """Nobody knows that it may, or it is forbidden."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds(details=dataclasses.replace(FREE, licence=licence))
    async with ember.open(), spark.open():
        with pytest.raises(NotSharedError):
            await spark.pulls(model)


async def test_a_card_that_forbids_it_ends_it(tmp_path: Path, net: SimulatedNet) -> None:
    """Also where the model was being given away."""
    ember, spark, attic = street(net, tmp_path, "ember", "spark", "attic")
    net.cut(spark.mesh, attic.mesh)
    model = ember.holds()
    async with ember.open(), spark.open(), attic.open():
        await spark.pulls(model)
        forbidding = Card.of({"name": "tiny", "licence": "LicenseRef-proprietary"})
        Cards(ember.store, verify=verify).keep(model.digest, forbidding)
        ember.sharing.models_changed()
        with pytest.raises(NotSharedError):
            await attic.pulls(model)


async def test_whoever_holds_it_can_vouch_for_what_somebody_published_who_left(
    tmp_path: Path, net: SimulatedNet
) -> None:
    """By writing its card."""
    ghost, ember, attic = street(net, tmp_path, "ghost", "ember", "attic")
    net.cut(ghost.mesh, attic.mesh)
    model = ghost.holds()
    async with ghost.open(), ember.open(), attic.open():
        await ember.pulls(model)
        ember.publisher.believed.discard(ghost.publisher.public)  # the same set for all
        with pytest.raises(StrangersReleaseError):
            await attic.pulls(model)
        cards = Cards(ember.store, verify=verify)
        cards.keep(model.digest, cards.of(model).card.filled({"description": "random bytes, looked at"}))
        ember.sharing.models_changed()
        await attic.pulls(model)
        release = Cards(attic.store, verify=verify).release(model.digest)
        assert release is not None
        assert release.publisher == ember.publisher.public


async def test_an_owner_who_shares_nothing(tmp_path: Path, net: SimulatedNet) -> None:
    """[sharing] enabled = false."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds()
    async with ember.open(enabled=False), spark.open():
        with pytest.raises(NotSharedError):
            await spark.pulls(model)


async def test_nobody_holds_it(tmp_path: Path, net: SimulatedNet) -> None:
    """That is said soon."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds()
    ember.store.remove("tiny")
    async with ember.open(), spark.open():
        with pytest.raises(NoHolderError):
            await spark.pulls(model)


async def test_what_cannot_be_given_is_refused(tmp_path: Path, net: SimulatedNet) -> None:
    """A chunk, a blob or a model that is not there."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds()
    blob = model.manifest.gguf.sha256
    async with ember.open(), spark.open():
        for want in (
            WantChunks(model.digest, blob, (CHUNKS,)),
            WantChunks(model.digest, "00" * 32, (0,)),
            WantChunks("00" * 32, blob, (0,)),
        ):
            spark.mesh.post(ember.mesh.node_id, want.KIND, want.to_body())
        await until(lambda: len(spark.mesh.seen[40]) == 3)


async def test_room_is_made_before_anything_is_reserved_and_held_until_it_is_here(
    tmp_path: Path, net: SimulatedNet
) -> None:
    """What was removed for it is told; where no room can be made, nothing has been begun."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    model = ember.holds()
    gone = Removed(name="old", digest="0" * 64, size_bytes=7)
    held: list[str] = []

    @asynccontextmanager
    async def room(name: str, manifest: Manifest, tell: Callable[[Removed], None]) -> AsyncIterator[None]:
        if not held:
            held.append("refused")
            raise QuotaExceededError("everything else is pinned")
        assert manifest == model.manifest
        assert not list((spark.store.root / "arrivals").glob("*/*.part"))
        held.append(name)
        tell(gone)
        yield
        assert spark.store.models()[0].digest == model.digest
        held.remove(name)

    async with ember.open(), spark.open(room=room):
        with pytest.raises(QuotaExceededError):
            await spark.pulls(model)
        assert not list((spark.store.root / "arrivals").glob("*"))
        events = [event async for event in spark.sharing.pull(model.digest, "tiny")]
    assert gone in events
    assert held == ["refused"]


@pytest.mark.parametrize("from_catalogue", [False, True])
async def test_what_two_versions_share_comes_once(tmp_path: Path, net: SimulatedNet, *, from_catalogue: bool) -> None:
    """Of the second one only what is new, wherever in it that is; however the first one came here."""
    ember, spark = street(net, tmp_path, "ember", "spark")
    first = ember.holds()
    data = content(ember, first)
    new = bytes(CHUNK_BYTES)
    second = ember.holds(data[: 2 * CHUNK_BYTES] + new + data[2 * CHUNK_BYTES :], name="second")
    async with ember.open(), spark.open():
        if from_catalogue:
            spark.holds()
        else:
            await spark.pulls(first)
        before = len(ember.asked_for())
        got, _ = await spark.pulls(second, name="second")
        assert content(spark, got) == content(ember, second)
        assert ember.asked_for()[before:] == [2]

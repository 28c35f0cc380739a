"""Models are carried, pinned, verified and make room for one another."""

import asyncio
import io
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from device.api_of_models import Model, PullProgress, Removed, Verification, Verified
from device.errands import Errands
from device.library import Library
from device.model_cards import ModelCards
from models.bundle import bundle_of, bundle_pieces
from models.catalogue import Catalogue
from models.core.hash_tree import KnownTree
from models.core.licences import UNKNOWN
from models.core.manifest import Blob, Manifest
from models.core.request import GenerationRequest, Message, SamplingParams
from models.errors import (
    CorruptModelError,
    DamagedModelError,
    InvalidBundleError,
    ModelNotFoundError,
    NameTakenError,
    QuotaExceededError,
)
from models.host import EngineHost
from models.store import Details, ModelStore
from tests.models.files import file_entry, sha256_of
from tests.models.tiny import TinyModel, write_tiny
from tests.models.waiting import until

QUESTION = GenerationRequest((Message("user", "x"),), SamplingParams(max_tokens=2))

Open = Callable[..., Awaitable[Library]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens libraries with three tiny models in their catalogue, by name and quota_bytes."""
    entries = [
        file_entry(f"tiny{seed}", write_tiny(tmp_path / f"tiny{seed}.gguf", TinyModel(seed=seed))) for seed in range(3)
    ]
    async with AsyncExitStack() as stack:

        async def library(name: str, *, quota_bytes: int = 0, shares: bool = True) -> Library:
            store, errands, cache_dir = ModelStore(tmp_path / name), Errands(), tmp_path / "cache" / name
            engine = EngineHost(store=store, cache_dir=cache_dir, threads=1, context_tokens=128)
            made = Library(
                store=store,
                catalogue=Catalogue(tuple(entries)),
                engine=engine,
                cache_dir=cache_dir,
                errands=errands,
                quota_bytes=quota_bytes,
                shares=shares,
            )
            stack.push_async_callback(made.aclose)
            await stack.enter_async_context(errands.open())
            return made

        yield library


async def _pulled(library: Library, name: str) -> list[PullProgress | Removed | Model]:
    return [step async for step in library.pull(name)]


async def _asked(library: Library, name: str) -> None:
    digest = library.model(name).digest
    assert [event async for event in library.generate(digest, QUESTION)]


def _bundle(library: Library, name: str) -> bytes:
    size, pieces = library.bundle(name)
    data = b"".join(pieces)
    assert len(data) == size
    return data


async def _imported(library: Library, data: bytes, *, name: str = "") -> list[PullProgress | Removed | Model]:
    return [step async for step in library.import_bundle(io.BytesIO(data), len(data), name=name)]


async def _verified(library: Library, name: str = "") -> Verification:
    *_, found = [step async for step in library.verify(name)]
    assert isinstance(found, Verification)
    return found


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _spoil(library: Library, name: str, folder: Path) -> Blob:
    blob = ModelStore(folder).find(name).manifest.gguf
    path = ModelStore(folder).blob_path(blob.sha256)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert library.model(name).digest
    return blob


async def test_neighbours_are_told_of_licences_as_they_are(opened: Open) -> None:
    """Anew when a card is another one; a node that shares nothing passes on nothing, whatever its cards allow."""
    library, miser = await opened("here"), await opened("there", shares=False)
    for one in (library, miser):
        await _pulled(one, "tiny0")
    [held] = library.held()
    assert (held.licence, held.passed_on) == ("CC0-1.0", True)
    assert [one.passed_on for one in miser.held()] == [False]
    changes: list[str] = []
    library.on_change = lambda: changes.append(library.held()[0].licence)
    card = library.cards.of(library.find("tiny0")).card
    await ModelCards(library).keep("tiny0", replace(card, licence=UNKNOWN))
    [held] = library.held()
    assert (held.licence, held.passed_on, changes) == (UNKNOWN, False, [UNKNOWN])
    assert library.model("tiny0").passed_on is False


async def test_an_imported_model_is_ready_to_answer(opened: Open) -> None:
    """Whoever listens hears that it is here; it answers as where it came from, with the same digest."""
    there, here = await opened("there"), await opened("here")
    await _pulled(there, "tiny0")
    changes: list[int] = []
    here.on_change = lambda: changes.append(len(here.held()))
    *steps, model = await _imported(here, _bundle(there, "tiny0"))
    assert isinstance(model, Model)
    assert {step.stage for step in steps if isinstance(step, PullProgress)} == {"import", "convert"}
    assert model.digest == there.model("tiny0").digest
    assert changes == [1]
    await _asked(here, "tiny0")
    assert _bundle(here, "tiny0") == _bundle(there, "tiny0")


async def test_a_bundle_that_is_none_changes_nothing(opened: Open, tmp_path: Path) -> None:
    """Altered, cut or with a name that is taken."""
    there, here = await opened("there"), await opened("here")
    await _pulled(there, "tiny0")
    await _pulled(there, "tiny1")
    await _pulled(here, "tiny1")
    data, before = bytearray(_bundle(there, "tiny0")), _files(tmp_path / "here")
    data[-3000] ^= 1
    for broken in (bytes(data), bytes(data[:-5000])):
        with pytest.raises(InvalidBundleError):
            await _imported(here, broken)
    with pytest.raises(NameTakenError):
        await _imported(here, _bundle(there, "tiny0"), name="tiny1")
    assert _files(tmp_path / "here") == before
    assert [model.name for model in here.models()] == ["tiny1"]


async def test_a_bundle_of_nothing_that_could_answer_is_not_kept(opened: Open, tmp_path: Path) -> None:
    """It is whole, and still no model."""
    store = ModelStore(tmp_path / "false")
    blob = Blob("gguf", sha256_of(b"no weights"), 10)
    store.add(io.BytesIO(b"no weights"), blob)
    model = store.install("false", Manifest.of([blob]), Details(licence="MIT", description="", source=""))
    here = await opened("here")
    with pytest.raises(CorruptModelError):
        await _imported(here, b"".join(bundle_pieces(bundle_of(model, {}), store, {})))
    assert here.models() == ()
    assert _files(tmp_path / "here") == set()


class _Halting:
    """Half of a bundle, and then nothing until it is let go."""

    def __init__(self, data: bytes) -> None:
        self._half = io.BytesIO(data[: len(data) // 2])
        self.halted, self.let_go = threading.Event(), threading.Event()

    def read(self, size: int, /) -> bytes:
        piece = self._half.read(size)
        if not piece:
            self.halted.set()
            self.let_go.wait()
        return piece


async def test_a_cancelled_import_leaves_nothing(opened: Open, tmp_path: Path) -> None:
    """Whoever is interrupted in the middle may begin again."""
    there, here = await opened("there"), await opened("here")
    await _pulled(there, "tiny0")
    data = _bundle(there, "tiny0")
    source = _Halting(data)
    listening = asyncio.create_task(_listen(here.import_bundle(source, len(data))))
    await until(source.halted.is_set)
    assert [name for name in _files(tmp_path / "here") if name.endswith(".arriving")]
    listening.cancel()
    await asyncio.sleep(0)
    source.let_go.set()
    await asyncio.wait((listening,))
    assert listening.cancelled()
    assert _files(tmp_path / "here") == set()
    assert isinstance((await _imported(here, data))[-1], Model)


async def _listen(steps: AsyncGenerator[PullProgress | Removed | Model, None]) -> None:
    async with aclosing(steps):
        async for _ in steps:
            pass


async def test_the_quota_removes_what_was_used_least(opened: Open) -> None:
    """And says so; what is pinned stays, and so does what is in use."""
    measured = await opened("measured")
    await _pulled(measured, "tiny0")
    size = measured.model("tiny0").size_bytes
    library = await opened("bounded", quota_bytes=13 * size)  # of which each takes at most 4, and some 7 converted
    for name in ("tiny0", "tiny1"):
        await _pulled(library, name)
        await _asked(library, name)
    await _asked(library, "tiny0")  # now tiny1 is the one used least
    (removed,) = [step for step in await _pulled(library, "tiny2") if isinstance(step, Removed)]
    assert (removed.name, removed.size_bytes) == ("tiny1", size)
    assert [model.name for model in library.models()] == ["tiny0", "tiny2"]


async def test_what_cannot_fit_is_refused_before_anything_goes(opened: Open, tmp_path: Path) -> None:
    """All pinned or in use: the pull is refused, and nothing has changed."""
    measured = await opened("measured")
    await _pulled(measured, "tiny0")
    library = await opened("bounded", quota_bytes=9 * measured.model("tiny0").size_bytes)
    await _pulled(library, "tiny0")
    await library.pin("tiny0", pinned=True)
    assert library.model("tiny0").pinned
    before = _files(tmp_path / "bounded")
    with pytest.raises(QuotaExceededError):
        await _pulled(library, "tiny1")
    assert _files(tmp_path / "bounded") == before
    await library.pin("tiny0", pinned=False)
    assert [step.name for step in await _pulled(library, "tiny1") if isinstance(step, Removed)] == ["tiny0"]


async def test_pulled_again_it_needs_no_room(opened: Open) -> None:
    """What is here is here."""
    measured = await opened("measured")
    await _pulled(measured, "tiny0")
    library = await opened("bounded", quota_bytes=9 * measured.model("tiny0").size_bytes)
    for _ in range(2):
        assert not [step for step in await _pulled(library, "tiny0") if isinstance(step, Removed)]


async def test_last_use_is_shown(opened: Open) -> None:
    """None before the first answer."""
    library = await opened("here")
    await _pulled(library, "tiny0")
    assert library.model("tiny0").used_ago_s is None
    await _asked(library, "tiny0")
    assert library.model("tiny0").used_ago_s is not None


async def test_what_is_not_here_cannot_be_cared_for(opened: Open) -> None:
    """Pinned, carried or verified."""
    library = await opened("here")
    with pytest.raises(ModelNotFoundError):
        await library.pin("absent", pinned=True)
    with pytest.raises(ModelNotFoundError):
        library.bundle("absent")
    with pytest.raises(ModelNotFoundError):
        await _verified(library, "absent")
    assert await _verified(library) == Verification()


async def test_sound_models_are_said_to_be(opened: Open) -> None:
    """All of them, or the one that is named."""
    library = await opened("here")
    for name in ("tiny0", "tiny1"):
        await _pulled(library, name)
    found = await _verified(library)
    assert [(one.name, one.sound) for one in found.models] == [("tiny0", True), ("tiny1", True)]
    assert found.sound
    assert [one.name for one in (await _verified(library, "tiny1")).models] == ["tiny1"]


async def test_a_damaged_model_answers_nobody_until_it_is_repaired(opened: Open, tmp_path: Path) -> None:
    """It is set aside, neighbours hear that it is gone, the engine lets go of it; a pull brings it back."""
    library = await opened("here")
    await _pulled(library, "tiny0")
    await _asked(library, "tiny0")
    changes: list[int] = []
    library.on_change = lambda: changes.append(len(library.held()))
    digest, blob = library.model("tiny0").digest, _spoil(library, "tiny0", tmp_path / "here")
    found = await _verified(library)
    (model,) = found.models
    assert (model.sound, model.repaired, [one.sha256 for one in model.damage]) == (False, False, [blob.sha256])
    assert not found.sound
    assert changes == [0]
    assert library.model("tiny0").damaged
    assert library.held() == ()
    with pytest.raises(ModelNotFoundError, match="damaged here"):
        assert [event async for event in library.generate(digest, QUESTION)]
    with pytest.raises(DamagedModelError, match="found damaged"):
        library.bundle("tiny0")
    await until(lambda: library.engine_pid is None)
    assert (tmp_path / "here" / "aside" / f"sha256-{blob.sha256}").exists()
    await _pulled(library, "tiny0")
    assert not library.model("tiny0").damaged
    assert not (tmp_path / "here" / "aside" / f"sha256-{blob.sha256}").exists()
    await _asked(library, "tiny0")


async def test_neighbours_may_repair_it(opened: Open, tmp_path: Path) -> None:
    """Whoever can is told what is damaged, and the model is whole again when they have done."""
    library = await opened("here")
    await _pulled(library, "tiny0")
    blob = _spoil(library, "tiny0", tmp_path / "here")
    asked: list[tuple[Blob, tuple[int, ...] | None]] = []

    async def repair(damaged: Blob, chunks: tuple[int, ...] | None) -> None:
        asked.append((damaged, chunks))
        with (tmp_path / "tiny0.gguf").open("rb") as file:
            await asyncio.to_thread(ModelStore(tmp_path / "here").add, file, damaged)

    library.scrubber.repair = repair
    library.scrubber.tree_of = lambda one: KnownTree.of_leaves(one.size, [bytes(32)])
    found = await _verified(library, "tiny0")
    assert asked == [(blob, (0,))]
    assert found.models == (
        Verified(
            name="tiny0",
            digest=library.model("tiny0").digest,
            sound=False,
            repaired=True,
            damage=found.models[0].damage,
        ),
    )
    assert found.sound
    assert not library.model("tiny0").damaged
    await _asked(library, "tiny0")

"""Models of a node: pulled, shown, removed, and answers by them."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from device.api_of_models import Model, PullProgress
from device.core.fitting import Room
from device.errands import Errands
from device.errors import WontFitError
from device.library import Library
from models.catalogue import Catalogue
from models.core.request import GenerationRequest, Message, SamplingParams
from models.errors import ChecksumMismatchError, ModelNotFoundError, NotEnoughMemoryError
from models.host import EngineHost
from models.store import ModelStore, StoredModel
from tests.models.files import file_entry
from tests.models.tiny import TinyModel, write_tiny
from tests.models.waiting import until


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    """An empty library whose catalogue has one tiny model."""
    catalogue = Catalogue((file_entry("tiny", write_tiny(tmp_path / "tiny.gguf", TinyModel())),))
    store, errands = ModelStore(tmp_path / "models"), Errands()
    engine = EngineHost(store=store, cache_dir=tmp_path / "cache", threads=1, context_tokens=128)
    library = Library(store=store, catalogue=catalogue, engine=engine, cache_dir=tmp_path / "cache", errands=errands)
    try:
        async with errands.open():
            yield library
    finally:
        await engine.aclose()


async def test_a_pull_ends_with_a_model_that_is_ready(library: Library, tmp_path: Path) -> None:
    """Installed and converted, with progress on the way; whoever listens is told that something changed."""
    changes: list[int] = []
    library.on_change = lambda: changes.append(len(library.held()))
    assert [entry.present for entry in library.catalogue()] == [False]
    *steps, model = [step async for step in library.pull("tiny")]
    assert isinstance(model, Model)
    assert all(isinstance(step, PullProgress) for step in steps)
    assert {step.stage for step in steps if isinstance(step, PullProgress)} >= {"install", "convert"}
    assert library.models() == (model,)
    assert library.model(model.digest) == model
    assert [entry.present for entry in library.catalogue()] == [True]
    assert list((tmp_path / "cache" / "graphs").iterdir())
    assert changes == [1]


async def test_a_pulled_model_has_a_card(library: Library) -> None:
    """Of what the catalogue and the file say; what is shown of a model comes from there."""
    *_, model = [step async for step in library.pull("tiny")]
    card = library.cards.card(library.find("tiny").digest)
    assert card is not None
    assert (card.name, card.licence, card.architecture, card.trained_on) == ("tiny", "CC0-1.0", "llama", "unknown")
    assert isinstance(model, Model)
    assert (model.licence, model.description, model.bad_at) == ("CC0-1.0", "random", "unknown")
    library.cards.keep(model.digest, card.changed({"bad_at": "everything", "description": "unknown"}))
    shown = library.model("tiny")
    assert (shown.bad_at, shown.description) == ("everything", "")


async def test_what_will_not_fit_is_refused_unless_one_insists(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first byte, with what is lacking; a model that is here already is never refused."""
    room = Room(store_bytes=1000, cache_bytes=1000, shared=True, memory_bytes=1000)
    monkeypatch.setattr(library, "room", lambda: room)
    with pytest.raises(WontFitError, match=r"converted forms, 1 kB free; needs about .* of memory"):
        assert [step async for step in library.pull("tiny")]
    assert library.models() == ()
    assert isinstance([step async for step in library.pull("tiny", anyway=True)][-1], Model)
    assert isinstance([step async for step in library.pull("tiny")][-1], Model)


async def test_pulled_again_it_is_there_at_once(library: Library) -> None:
    """Nothing changes, nobody is told."""
    assert [step async for step in library.pull("tiny")]
    changes: list[int] = []
    library.on_change = lambda: changes.append(1)
    assert isinstance([step async for step in library.pull("tiny")][-1], Model)
    assert not changes


async def test_a_pull_that_fails_leaves_nothing(library: Library, tmp_path: Path) -> None:
    """A file that is not what the catalogue promises does not become a model."""
    content = bytearray((tmp_path / "tiny.gguf").read_bytes())
    content[-1] ^= 1
    (tmp_path / "tiny.gguf").write_bytes(content)
    with pytest.raises(ChecksumMismatchError):
        assert [step async for step in library.pull("tiny")]
    assert library.held() == ()


class CrowdedHost(EngineHost):
    """An engine beside which a model cannot be measured: another one takes the memory."""

    async def prepare(self, model: StoredModel, progress: Callable[[float], None]) -> None:  # noqa: ARG002  the port
        """Convert, and fail where the measuring begins."""
        progress(0.5)
        raise NotEnoughMemoryError(2, 1, 64, 0)


async def test_a_model_that_cannot_be_measured_yet_is_here_all_the_same(tmp_path: Path) -> None:
    """The first question to it has it measured, in place of the model that is loaded now."""
    catalogue = Catalogue((file_entry("tiny", write_tiny(tmp_path / "tiny.gguf", TinyModel())),))
    store, cache = ModelStore(tmp_path / "models"), tmp_path / "cache"
    engine = CrowdedHost(store=store, cache_dir=cache, threads=1, context_tokens=128)
    library = Library(store=store, catalogue=catalogue, engine=engine, cache_dir=cache, errands=Errands())
    *_, model = [step async for step in library.pull("tiny")]
    assert library.models() == (model,)


async def test_what_the_catalogue_has_not_is_said(library: Library) -> None:
    """By a pull, a look, a question and a removal."""
    request = GenerationRequest((Message("user", "x"),), SamplingParams())
    with pytest.raises(ModelNotFoundError, match="which has tiny"):
        assert [step async for step in library.pull("absent")]
    with pytest.raises(ModelNotFoundError):
        library.model("absent")
    with pytest.raises(ModelNotFoundError):
        await library.remove("absent")
    with pytest.raises(ModelNotFoundError):
        assert [event async for event in library.generate("ab" * 32, request)]


async def test_a_removed_model_takes_its_graph_along(tmp_path: Path, library: Library) -> None:
    """The graph is the larger part of what it took on the disk."""
    assert [step async for step in library.pull("tiny")]
    assert len(list((tmp_path / "cache" / "graphs").iterdir())) == 1
    await library.remove("tiny")
    assert library.held() == ()
    await until(lambda: not list((tmp_path / "cache" / "graphs").iterdir()))

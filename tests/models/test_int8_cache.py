"""Keys and values kept as int8 give the answers that float32 gives, in a quarter of the memory."""

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from gguf import GGMLQuantizationType as Type

from models.architecture import FAMILIES
from models.calibration import calibration_ids
from models.core.graph_info import DATA_FILE, GraphInfo
from models.engine import Engine
from models.errors import CorruptModelError, EngineError
from models.gguf import GgufFile
from models.graph import convert
from models.key_value_calibration import WINDOW, WINDOWS, calibrate, measured_windows
from models.key_value_scales import KeyValueScales
from models.kv_cache import KeyValueCache
from models.prefill import OPEN_TOKENS, PrefillGraph
from models.tokenizer import Tokenizer
from tests.models.tiny import TOKENS, TinyModel, write_tiny

IDS = [TOKENS.index(letter) for letter in "theĠstationĠatĠnightĠhadĠnoĠlampĠ;ĠsheĠreadĠ12Ġletters."][:60]
ROUNDING = 0.05  # relative rms of the logits; weights drawn by lot make more of it than trained ones
MODELS = {
    "heads of 16": TinyModel(matrices=Type.F32, embedding=Type.F32),
    "heads of 48": TinyModel(matrices=Type.F32, embedding=Type.F32, head_dim=48, heads=2, kv_heads=1),
    "heads of 64": TinyModel(matrices=Type.F32, embedding=Type.F32, head_dim=64),
    "heads of 128": TinyModel(matrices=Type.F32, embedding=Type.F32, head_dim=128, heads=6, kv_heads=2),
    "a head for each": TinyModel(matrices=Type.F32, embedding=Type.F32, kv_heads=4),
    "keys and values of two types": TinyModel(matrices=Type.F32, embedding=Type.F32, types={"attn_v.weight": Type.F16}),
} | {
    family: TinyModel(
        family=family,
        layers=max(2, about.window_period, about.plain_period),
        matrices=Type.F32,
        embedding=Type.F32,
        window=8 if about.window_period else 0,
    )
    for family, about in FAMILIES.items()
    if family != "llama"
}


def _measured(folder: Path, model: TinyModel) -> tuple[Path, KeyValueScales]:
    path = write_tiny(folder / "tiny.gguf", model)
    convert(path, folder / "graph")
    calibrate(path, folder / "graph", threads=1, progress=lambda _: None)
    scales = KeyValueScales.load(folder / "graph")
    assert scales is not None
    return folder / "graph", scales


def _error(expected: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)))


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_float32_cache(name: str, tmp_path: Path) -> None:
    """But for the rounding, whether the tokens come all at once or one by one."""
    graph, scales = _measured(tmp_path, MODELS[name])
    expected = Engine(graph, threads=1, context_tokens=64).logits_for(IDS)
    engine = Engine(graph, threads=1, context_tokens=64, scales=scales)
    assert 0 < _error(expected, engine.logits_for(IDS)) < ROUNDING
    engine.append(0, 0, IDS[:40])
    for held in range(40, len(IDS)):
        assert _error(expected[held], engine.advance(0, [IDS[held]], [held])[0]) < ROUNDING


def test_a_segment_is_restored_as_it_was(tmp_path: Path) -> None:
    """What follows is computed to the same bits."""
    graph, scales = _measured(tmp_path, TinyModel())
    engine = Engine(graph, threads=1, context_tokens=64, scales=scales)
    engine.append(0, 0, IDS[:40])
    segment = engine.cache.saved(0, 0, 40)
    expected = engine.append(0, 40, IDS[40:41]).copy()
    other = Engine(graph, threads=1, context_tokens=64, slots=2, scales=scales)
    other.append(1, 0, IDS[20:])
    other.cache.restore(1, 0, segment)
    assert segment.dtype == np.int8
    assert np.array_equal(expected, other.append(1, 40, IDS[40:41]))


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_for_prompts_fills_the_cache_as_the_other_does(name: str, tmp_path: Path) -> None:
    """To a step of rounding; in one run or in several, and behind what is held already, to the same bits."""
    graph, scales = _measured(tmp_path, MODELS[name])
    engine = Engine(graph, threads=1, context_tokens=64, scales=scales)
    engine.append(0, 0, IDS)
    expected = engine.cache.saved(0, 0, len(IDS)).astype(int)
    prompts = PrefillGraph.of(graph, threads=1, scales=scales)
    assert prompts is not None
    assert prompts.takes(OPEN_TOKENS)
    found = []
    for cuts in ([0, len(IDS)], [0, 20, 22, len(IDS)]):
        cache = KeyValueCache(engine.info, slots=1, room=64, scales=scales)
        for start, stop in itertools.pairwise(cuts):
            prompts.run(IDS[start:stop], start, dict(cache.arrays()))
        found.append(cache.saved(0, 0, len(IDS)).astype(int))
    assert np.abs(expected - found[0]).max() <= 1
    assert np.mean(expected != found[0]) < 0.01
    assert np.array_equal(found[0], found[1])


def test_sequences_side_by_side_are_those_of_each_alone(tmp_path: Path) -> None:
    """Of several lengths, to the same bits; with weights whose products round alike on every processor."""
    graph, scales = _measured(tmp_path, TinyModel(matrices=Type.F32, embedding=Type.F32))
    lengths = (10, 33, 21)
    together = Engine(graph, threads=1, context_tokens=64, slots=3, scales=scales)
    alone = Engine(graph, threads=1, context_tokens=64, scales=scales)
    expected = []
    for slot, length in enumerate(lengths):
        together.append(slot, 0, IDS[:length])
        alone.append(0, 0, IDS[:length])
        expected.append(alone.advance(0, [IDS[length]], [length])[0].copy())
    assert np.array_equal(expected, together.advance(0, [IDS[length] for length in lengths], lengths))


def test_a_prompt_goes_through_the_graph_for_prompts(tmp_path: Path) -> None:
    """What follows it is what follows it without."""
    model = TinyModel(matrices=Type.F32, embedding=Type.F32, context_tokens=4 * OPEN_TOKENS)
    graph, scales = _measured(tmp_path, model)
    ids = IDS * (2 * OPEN_TOKENS // len(IDS))
    exact, engine = (Engine(graph, threads=1, context_tokens=0, slots=2, scales=one) for one in (None, scales))
    for start in (0, len(ids)):
        assert _error(exact.append(0, start, ids), engine.append(1, start, ids)) < ROUNDING
    assert engine._prefill is not None
    assert engine._prefill._session is not None


def test_a_token_takes_a_quarter(tmp_path: Path) -> None:
    """One byte for each number instead of four."""
    graph, scales = _measured(tmp_path, TinyModel())
    wide, narrow = (Engine(graph, threads=1, context_tokens=64, scales=one).cache for one in (None, scales))
    assert wide.token_bytes == 4 * narrow.token_bytes


def test_scales_of_another_model_are_refused(tmp_path: Path) -> None:
    """Its layers are others."""
    graph, _ = _measured(tmp_path, TinyModel())
    with pytest.raises(EngineError, match="another model's"):
        Engine(graph, threads=1, context_tokens=64, scales=KeyValueScales(np.ones((2, 2, 2, 32), np.float32)))


@pytest.mark.parametrize("begins", [False, True])
def test_pieces_are_from_all_over_the_text(begins: bool, tmp_path: Path) -> None:  # noqa: FBT001  a parameter of pytest
    """From its beginning to its end, none longer than is measured at once, each begun as the model wants it."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(), {"tokenizer.ggml.add_bos_token": begins})
    with GgufFile.open(path) as gguf:
        tokenizer = Tokenizer.from_gguf(gguf)
    text, windows = calibration_ids(tokenizer), measured_windows(tokenizer)
    assert (len(windows), {len(window) for window in windows}) == (WINDOWS, {WINDOW})
    assert text[:WINDOW] == windows[0]
    assert text[-WINDOW + begins :] == windows[-1][begins:]
    assert all((window[0] in tokenizer.control_ids) is begins for window in windows)


def test_the_caller_hears_how_far_it_is(tmp_path: Path) -> None:
    """After each piece; a model that knows fewer tokens than a piece has is measured too."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(context_tokens=WINDOW // 2))
    convert(path, tmp_path / "graph")
    heard: list[float] = []
    calibrate(path, tmp_path / "graph", threads=1, progress=heard.append)
    assert heard == [(step + 1) / WINDOWS for step in range(WINDOWS)]


def test_a_vocabulary_without_letters_is_refused(tmp_path: Path) -> None:
    """No piece of any text can be cut from it."""
    only = {"tokenizer.ggml.tokens": ["<a>", "<b>", "<a><b>"], "tokenizer.ggml.merges": ["<a> <b>"]}
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(vocabulary=3), only | {"tokenizer.ggml.token_type": [3] * 3})
    convert(path, tmp_path / "graph")
    with pytest.raises(CorruptModelError, match="no words"):
        calibrate(path, tmp_path / "graph", threads=1, progress=lambda _: None)


def test_a_model_that_computes_no_numbers_is_refused(tmp_path: Path) -> None:
    """It would be told at the first question; a pull tells it before."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(matrices=Type.F32))
    convert(path, tmp_path / "graph")
    data = tmp_path / "graph" / DATA_FILE
    data.write_bytes(b"\xff" * data.stat().st_size)  # NaN, wherever it is read as float32
    with pytest.raises(CorruptModelError, match="no numbers"):
        calibrate(path, tmp_path / "graph", threads=1, progress=lambda _: None)


def test_a_vocabulary_beyond_the_embedding_is_refused(tmp_path: Path) -> None:
    """Plain text has words that the model has no weights for."""
    path = write_tiny(tmp_path / "tiny.gguf", TinyModel(vocabulary=64))
    convert(path, tmp_path / "graph")
    with pytest.raises(CorruptModelError, match="vocabulary"):
        calibrate(path, tmp_path / "graph", threads=1, progress=lambda _: None)


def test_a_context_that_nobody_chose_is_the_models(tmp_path: Path) -> None:
    """How much of it the memory holds is the worker's business, see `MemoryNeed.room`."""
    graph, scales = _measured(tmp_path, TinyModel(context_tokens=700))
    engine = Engine(graph, threads=1, context_tokens=0, scales=scales)
    assert engine.context_tokens == 700


def test_room_that_is_never_reached_costs_nothing() -> None:
    """Neither memory nor any of what RLIMIT_DATA counts; room beyond all addresses is refused as memory is."""
    info = GraphInfo(layers=2, kv_heads=8, head_dim=64, vocabulary=8, context_tokens=2**50)
    before = {name: _kilobytes(name) for name in ("VmData", "VmRSS")}
    cache = KeyValueCache(info, slots=2, room=32_768)
    assert cache.token_bytes * cache.slots * cache.room == 2**29
    assert all(_kilobytes(name) < before[name] + 2**14 for name in before)
    with pytest.raises(MemoryError):
        KeyValueCache(info, slots=2, room=info.context_tokens)


def _kilobytes(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))

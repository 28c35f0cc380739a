"""Prompts go through their own graph where that is worth it, and the answer is none the worse."""

from pathlib import Path

import numpy as np
import pytest

from models.core.batching import MOST_TOKENS
from models.core.board_profile import BoardProfile
from models.core.graph_info import PREFILL_DATA_FILE, PREFILL_FILE
from models.engine import Engine
from models.errors import EngineError
from models.graph import convert
from models.key_value_scales import KeyValueScales
from models.kv_cache import KeyValueCache
from models.prefill import MIN_TOKENS, OPEN_TOKENS, PrefillGraph
from tests.models.int8_error import TOLERANCE, relative_error
from tests.models.tiny import TOKENS, TinyModel, write_tiny

IDS = [int(token) for token in np.random.default_rng(5).integers(0, len(TOKENS), 2 * MOST_TOKENS)]
ROUNDING = 0.01  # relative rms error: of sums in another order, which now and then move a quant by one
PROFILE = BoardProfile.parse("exact/int8")


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convert a small model with a graph for prompts."""
    folder = tmp_path_factory.mktemp("prefill")
    path = write_tiny(folder / "tiny.gguf", TinyModel(context_tokens=2 * MOST_TOKENS))
    convert(path, folder / "graph", profile=PROFILE)
    return folder / "graph"


def test_a_graph_without_a_second_form_has_no_graph_for_prompts(graph: Path, tmp_path: Path) -> None:
    """It is there where the converter wrote it."""
    assert PrefillGraph.of(graph, threads=1) is not None
    assert PrefillGraph.of(tmp_path, threads=1) is None


def test_pieces_give_the_keys_and_values_of_the_whole(graph: Path) -> None:
    """Tokens behind others see them: a prompt in two pieces fills the cache like one in a single run."""
    prefill = PrefillGraph(graph, threads=1)
    info = Engine(graph, threads=1, context_tokens=64).info
    whole, pieces = (KeyValueCache(info, slots=1, room=64) for _ in range(2))
    assert prefill.takes(OPEN_TOKENS)
    prefill.run(IDS[:60], 0, dict(whole.arrays()))
    prefill.run(IDS[:35], 0, dict(pieces.arrays()))
    prefill.run(IDS[35:60], 35, dict(pieces.arrays()))
    found, expected = (cache.saved(0, 0, 60).astype(np.float32) for cache in (pieces, whole))
    assert relative_error(found, expected) < ROUNDING


def test_short_prompts_are_not_taken(graph: Path) -> None:
    """It is opened for a prompt that is worth it; from then on shorter ones are, down to a few tokens."""
    prefill = PrefillGraph(graph, threads=1)
    assert not prefill.takes(OPEN_TOKENS - 1)
    assert prefill.takes(OPEN_TOKENS)
    assert prefill.takes(MIN_TOKENS)
    assert not prefill.takes(MIN_TOKENS - 1)


def test_without_memory_nothing_is_taken(graph: Path) -> None:
    """A board whose memory is in use does without; once the graph is open, it stays of use."""
    free = [10_000]
    prefill = PrefillGraph(graph, threads=1, free_memory=lambda: free[-1])
    assert not prefill.takes(OPEN_TOKENS)
    free.append(10**10)
    assert prefill.takes(OPEN_TOKENS)
    free.append(10_000)
    assert prefill.takes(OPEN_TOKENS)
    prefill.release()
    assert not prefill.takes(OPEN_TOKENS)


def test_rest_costs_the_next_prompt_nothing_but_time(graph: Path) -> None:
    """After a rest the same prompt gives the same bits."""
    engine = Engine(graph, threads=1, context_tokens=MOST_TOKENS)
    first = engine.append(0, 0, IDS[:150]).copy()
    engine.rest()
    assert first.tobytes() == engine.append(0, 0, IDS[:150]).tobytes()


def test_prompts_in_chunks_end_in_the_logits_of_the_whole(graph: Path) -> None:
    """However a prompt is cut, it has the same keys and values; another slot's are left alone."""
    ids = IDS[: MOST_TOKENS + 100]
    engine = Engine(graph, threads=1, context_tokens=1024, slots=2)
    expected = engine.logits_for(ids)[-1]
    engine.append(0, 0, IDS[-150:])
    before = engine.cache.saved(0, 0, 150)
    whole = engine.append(1, 0, ids).copy()
    assert relative_error(whole, expected) < TOLERANCE
    engine.append(1, 0, ids[:200])
    engine.append(1, 200, ids[200:350])
    assert relative_error(engine.append(1, 350, ids[350:]), whole) < ROUNDING
    assert before.tobytes() == engine.cache.saved(0, 0, 150).tobytes()


def test_slots_and_lengths_take_turns(graph: Path) -> None:
    """Whatever was read before, in a slot or in another one, the same prompt has the same bits."""
    scales = KeyValueScales(np.full((2, 2, 2, 16), 0.05, np.float32))
    for kept in (None, scales):
        engine = Engine(graph, threads=1, context_tokens=MOST_TOKENS, slots=2, scales=kept)
        first = [engine.append(slot, 0, IDS[slot : slot + 300]).tobytes() for slot in (0, 1)]
        segments = [engine.cache.saved(slot, 0, 300).tobytes() for slot in (0, 1)]
        engine.append(0, 0, IDS[7:150])
        engine.append(1, 150, IDS[:20])
        assert first == [engine.append(slot, 0, IDS[slot : slot + 300]).tobytes() for slot in (0, 1)]
        assert segments == [engine.cache.saved(slot, 0, 300).tobytes() for slot in (0, 1)]


def test_what_was_not_opened_does_not_run(graph: Path) -> None:
    """`run` without `takes` is a mistake that is told."""
    with pytest.raises(EngineError, match="not open"):
        PrefillGraph(graph, threads=1).run(IDS[:40], 0, {})


@pytest.mark.parametrize("damaged", [PREFILL_FILE, PREFILL_DATA_FILE])
def test_a_damaged_graph_is_an_engine_error(damaged: str, graph: Path, tmp_path: Path) -> None:
    """What is not what the converter wrote does not load."""
    for file in graph.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 100 if file.name == damaged else None])
    prefill = PrefillGraph.of(tmp_path, threads=1)
    assert prefill is not None
    with pytest.raises(EngineError, match="converted graph"):
        prefill.takes(OPEN_TOKENS)

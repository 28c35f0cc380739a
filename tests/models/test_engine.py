"""Sequences, however they are fed: the cache holds what a whole run of each would compute."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from models.core.batching import MOST_TOKENS
from models.core.graph_info import DATA_FILE, MODEL_FILE
from models.engine import Engine
from models.errors import EngineError, PromptTooLongError
from models.graph import convert
from tests.models.tiny import TOKENS, TinyModel, write_tiny

IDS = [int(token) for token in np.random.default_rng(3).integers(0, len(TOKENS), 48)]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convert a small float32 model, which rounds alike however many tokens run at a time."""
    folder = tmp_path_factory.mktemp("engine")
    model = TinyModel(matrices=Type.F32, embedding=Type.F32, context_tokens=2 * MOST_TOKENS)
    convert(write_tiny(folder / "tiny.gguf", model), folder / "graph")
    return folder / "graph"


def test_a_prompt_and_single_tokens_agree_with_one_whole_run(graph: Path) -> None:
    """Logits after a prompt and after each further token are those of the same tokens in one run."""
    expected = Engine(graph, threads=1, context_tokens=64).logits_for(IDS)
    engine = Engine(graph, threads=1, context_tokens=64)
    np.testing.assert_allclose(engine.append(0, 0, IDS[:20])[0], expected[19], atol=1e-5)
    for position in range(20, len(IDS)):
        np.testing.assert_allclose(engine.advance(0, [IDS[position]], [position])[0], expected[position], atol=1e-5)


def test_chunks_of_a_long_prompt_make_one_sequence(graph: Path) -> None:
    """A prompt longer than a chunk ends in the same logits, and so does one given in pieces."""
    ids = (IDS * 20)[: MOST_TOKENS + 100]
    engine = Engine(graph, threads=2, context_tokens=1024)
    whole = engine.append(0, 0, ids)[0].copy()
    engine.append(0, 0, ids[:300])
    np.testing.assert_allclose(engine.append(0, 300, ids[300:])[0], whole, atol=1e-4)
    np.testing.assert_allclose(engine.logits_for(ids)[-1], whole, atol=1e-4)


def test_the_last_rows_are_given_for_the_asking(graph: Path) -> None:
    """As many as are wanted, of a run of several chunks too; what a round gives afterwards is right as well."""
    engine = Engine(graph, threads=1, context_tokens=1024)
    ids = (IDS * 20)[: MOST_TOKENS + 20]
    expected = engine.logits_for(ids)
    np.testing.assert_allclose(engine.append(0, 0, ids, rows=16), expected[-16:], atol=1e-4)
    np.testing.assert_allclose(engine.advance(0, ids[9:10], [9])[0], expected[9], atol=1e-4)


def test_a_slot_forgets_what_is_written_over(graph: Path) -> None:
    """The same tokens give the same bits, whatever the slot held."""
    engine = Engine(graph, threads=1, context_tokens=64)
    first = engine.append(0, 0, IDS[:10]).copy()
    engine.advance(0, [5], [10])
    assert first.tobytes() == engine.append(0, 0, IDS[:10]).tobytes()


@pytest.mark.parametrize("slots", [range(4), range(1, 4), range(2, 3)])
def test_sequences_beside_each_other_do_not_touch(graph: Path, slots: range) -> None:
    """A round over some neighbouring slots gives each what it would get alone; the other slots stay as they are."""
    engine = Engine(graph, threads=1, context_tokens=64, slots=4)
    held = [7, 30, 12, 19]
    for slot, length in enumerate(held):
        engine.append(slot, 0, IDS[slot : slot + length])
    before = [engine.cache.saved(slot, 0, length) for slot, length in enumerate(held)]
    alone = [engine.advance(slot, [slot], held[slot : slot + 1])[0].copy() for slot in slots]
    together = engine.advance(slots.start, list(slots), [held[slot] for slot in slots])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    for slot, length in enumerate(held):
        assert engine.cache.saved(slot, 0, length).tobytes() == before[slot].tobytes()


def test_a_sequence_goes_on_in_another_slot(graph: Path) -> None:
    """What is saved of one, put back or moved, is all there is to it."""
    engine = Engine(graph, threads=1, context_tokens=64, slots=3)
    expected = Engine(graph, threads=1, context_tokens=64).append(0, 0, IDS[:30]).copy()
    engine.append(0, 0, IDS[:20])
    engine.append(1, 0, IDS[20:40])
    engine.cache.move(0, 2, 20)
    assert engine.append(2, 20, IDS[20:30]).tobytes() == expected.tobytes()
    engine.cache.restore(1, 0, engine.cache.saved(0, 0, 12))
    engine.cache.restore(1, 12, engine.cache.saved(0, 12, 20))
    assert engine.append(1, 20, IDS[20:30]).tobytes() == expected.tobytes()


def test_room_ends_with_both_numbers(graph: Path) -> None:
    """The last place of the context can be used; one token more is refused before anything is computed."""
    engine = Engine(graph, threads=1, context_tokens=32)
    engine.append(0, 0, IDS[:31])
    engine.advance(0, [1], [31])
    with pytest.raises(PromptTooLongError) as caught:
        engine.advance(0, [1], [32])
    assert (caught.value.prompt_tokens, caught.value.context_tokens) == (33, 32)
    with pytest.raises(PromptTooLongError, match="the prompt has 33 tokens, the context holds 32"):
        engine.append(0, 0, IDS[:33])


def test_the_context_is_at_most_the_graphs(graph: Path) -> None:
    """A model trained for fewer tokens than asked for gets those."""
    assert Engine(graph, threads=1, context_tokens=100_000).context_tokens == 2 * MOST_TOKENS


def test_an_id_outside_the_vocabulary_is_an_engine_error(graph: Path) -> None:
    """What the runtime refuses comes out as this package's own error."""
    with pytest.raises(EngineError, match="failed at token 0"):
        Engine(graph, threads=1, context_tokens=32).append(0, 0, [len(TOKENS)])


@pytest.mark.parametrize("damage", ["absent", "garbage", "no description", "no data"])
def test_a_damaged_graph_is_an_engine_error(damage: str, graph: Path, tmp_path: Path) -> None:
    """A graph that is gone, cut or not ours is refused when it is loaded."""
    if damage != "absent":
        model = (graph / MODEL_FILE).read_bytes()
        model = {"garbage": model[:500], "no description": model.replace(b"kv_heads", b"xx_heads")}.get(damage, model)
        (tmp_path / MODEL_FILE).write_bytes(model)
        if damage != "no data":
            (tmp_path / DATA_FILE).write_bytes((graph / DATA_FILE).read_bytes())
    with pytest.raises(EngineError, match="converted graph"):
        Engine(tmp_path, threads=1, context_tokens=32)

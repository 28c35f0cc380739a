"""One sequence, however it is fed: the cache holds what a whole run would compute."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from models.engine import PREFILL_CHUNK, Engine
from models.errors import EngineError, PromptTooLongError
from models.graph import DATA_FILE, MODEL_FILE, convert
from tests.models.tiny import TOKENS, TinyLlama, write_tiny

IDS = [int(token) for token in np.random.default_rng(3).integers(0, len(TOKENS), 48)]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convert a small float32 model, which rounds alike however many tokens run at a time."""
    folder = tmp_path_factory.mktemp("engine")
    model = TinyLlama(matrices=Type.F32, embedding=Type.F32, context_tokens=2 * PREFILL_CHUNK)
    convert(write_tiny(folder / "tiny.gguf", model), folder / "graph")
    return folder / "graph"


def test_prefill_and_decode_agree_with_one_whole_run(graph: Path) -> None:
    """Logits after a prefill and after each decoded token are those of the same tokens in one run."""
    expected = Engine(graph, threads=1, context_tokens=64).logits_for(IDS)
    engine = Engine(graph, threads=1, context_tokens=64)
    np.testing.assert_allclose(engine.prefill(IDS[:20]), expected[19], atol=1e-5)
    for position in range(20, len(IDS)):
        np.testing.assert_allclose(engine.decode(IDS[position]), expected[position], atol=1e-5)
    assert len(IDS) == engine.position


def test_chunks_of_a_long_prompt_make_one_sequence(graph: Path) -> None:
    """A prompt longer than a chunk ends in the same logits, and so does one given in pieces."""
    ids = (IDS * 20)[: PREFILL_CHUNK + 100]
    engine = Engine(graph, threads=2, context_tokens=1024)
    whole = engine.prefill(ids).copy()
    engine.reset()
    engine.prefill(ids[:300])
    np.testing.assert_allclose(engine.prefill(ids[300:]), whole, atol=1e-4)
    engine.reset()
    np.testing.assert_allclose(engine.logits_for(ids)[-1], whole, atol=1e-4)


def test_reset_forgets(graph: Path) -> None:
    """After a reset the same tokens give the same bits, whatever the cache held."""
    engine = Engine(graph, threads=1, context_tokens=64)
    first = engine.prefill(IDS[:10]).copy()
    engine.decode(5)
    engine.reset()
    assert engine.position == 0
    assert first.tobytes() == engine.prefill(IDS[:10]).tobytes()


def test_room_ends_with_both_numbers(graph: Path) -> None:
    """The last place of the context can be used; one token more is refused before anything is computed."""
    engine = Engine(graph, threads=1, context_tokens=32)
    engine.prefill(IDS[:31])
    engine.decode(1)
    with pytest.raises(PromptTooLongError) as caught:
        engine.decode(1)
    assert (caught.value.prompt_tokens, caught.value.context_tokens) == (33, 32)
    assert engine.position == 32
    engine.reset()
    with pytest.raises(PromptTooLongError, match="the prompt has 33 tokens, the context holds 32"):
        engine.prefill(IDS[:33])


def test_the_context_is_at_most_the_graphs(graph: Path) -> None:
    """A model trained for fewer tokens than asked for gets those."""
    assert Engine(graph, threads=1, context_tokens=100_000).context_tokens == 2 * PREFILL_CHUNK


def test_an_id_outside_the_vocabulary_is_an_engine_error(graph: Path) -> None:
    """What the runtime refuses comes out as this package's own error."""
    with pytest.raises(EngineError, match="failed at token 0"):
        Engine(graph, threads=1, context_tokens=32).prefill([len(TOKENS)])


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

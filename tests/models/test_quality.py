"""The real model computes what llama.cpp computes from the same file: ids, logits, perplexity."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.engine import Engine
from models.gguf import GgufFile
from models.graph import convert
from models.key_value_calibration import calibrate
from models.key_value_scales import KeyValueScales
from models.tokenizer import Tokenizer
from tests.models.llama_cpp import LlamaCpp, Prediction
from tests.models.memory import peak_growth_bytes
from tests.models.perplexity import perplexity, predictions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROSE = Path(__file__).parent / "text" / "prose.txt"
WINDOW = 512  # tokens of a context; each window begins anew
MIN_PREDICTIONS = 2000
MAX_PERPLEXITY_DIFFERENCE = 0.005
MIN_TOP1_AGREEMENT = 0.95

TEXTS = {
    "prose": PROSE.read_text(encoding="utf-8"),
    "contractions": "I'm sure they've said we'll go; it's Anna's, isn't it? I'D SAY IT'S NOT.",
    "numbers": "In 1871 it was 3.14159 or 1,000,000 m²; call 0049-30-1234567 at 12:45, ½ price, Ⅷ, ٣٤٥.",
    "white space": "  two spaces\n\n\nthree lines\t\ttabs \r\n windows   end   ",
    "code": 'def f(x: int) -> int:\n    return x**2 if x != 0 else -1  # comment\n\n<div class="a">&amp;</div>\n',
    "German": "Über die Brücke läuft ein süßer Igel; Größe: 25 µm.",
    "Greek": "Γρήγορη αλεπού πηδά πάνω από το σκυλί.",
    "Russian": "Съешь же ещё этих мягких французских булок.",
    "Hebrew": "דג סקרן שט בים מאוכזב ולפתע מצא חברה.",
    "Arabic": "نصٌّ حكيمٌ له سِرٌّ قاطِعٌ وذو شأنٍ عظيم.",
    "Hindi": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा।",
    "Thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "Chinese": "我能吞下玻璃而不伤身体。今天是2024年1月5日。",
    "Japanese": "いろはにほへと ちりぬるを。カタカナも漢字も。",
    "Korean": "키스의 고유조건은 입술끼리 만나야 하고.",
    "emoji": "👩‍👩‍👧‍👦 🇫🇷 👍🏽 ❤️ 🏳️‍🌈 zero\u200bwidth",
    "combining": "Z̷a͓l̷g̴o é vs é ﬁ ﬂ",
    "control names": "<|im_start|>user\nHi<|im_end|>\n<|endoftext|> <|im_end <|IM_END|>",
}


@pytest.fixture(scope="module")
def llama_cpp(smollm2_gguf: Path) -> Iterator[LlamaCpp]:
    """Run llama.cpp on the real file."""
    with LlamaCpp(smollm2_gguf, context_tokens=1024) as server:
        yield server


@pytest.fixture(scope="module")
def tokenizer(smollm2_gguf: Path) -> Tokenizer:
    """Build the real model's tokenizer."""
    with GgufFile.open(smollm2_gguf) as gguf:
        return Tokenizer.from_gguf(gguf)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("special", [False, True])
def test_ids_are_llama_cpps(name: str, special: bool, llama_cpp: LlamaCpp, tokenizer: Tokenizer) -> None:  # noqa: FBT001  a parameter of pytest
    """Every script is cut into the same tokens, and comes back whole."""
    ids = tokenizer.encode(TEXTS[name], special=special)
    assert llama_cpp.tokenize(TEXTS[name], special=special) == ids
    if not special:
        assert TEXTS[name] == tokenizer.decode(ids)


def test_conversion_is_repeatable_and_small(smollm2_gguf: Path, tmp_path: Path) -> None:
    """Twice the same bytes, in well under 400 MB."""
    growth = peak_growth_bytes(lambda: convert(smollm2_gguf, tmp_path / "one"))
    convert(smollm2_gguf, tmp_path / "two")
    for name in ("model.onnx", "model.int8_cache.onnx", "model.onnx.data"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert growth < 200e6


@pytest.fixture(scope="module")
def graph(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model's graph with all that is measured of it."""
    folder = tmp_path_factory.mktemp("graphs") / "graph"
    convert(smollm2_gguf, folder)
    calibrate(smollm2_gguf, folder, threads=2, progress=lambda _: None)
    return folder


@pytest.fixture(scope="module")
def windows(tokenizer: Tokenizer) -> list[list[int]]:
    """Over 2,000 tokens of our own prose, a context's worth at a time."""
    ids = tokenizer.encode(TEXTS["prose"], special=False)
    return [ids[start : start + WINDOW] for start in range(0, len(ids), WINDOW)]


@pytest.fixture(scope="module")
def expected(llama_cpp: LlamaCpp, windows: list[list[int]]) -> list[Prediction]:
    """What llama.cpp thinks of them."""
    return [prediction for window in windows for prediction in llama_cpp.predictions(window)]


@pytest.mark.parametrize("kv_cache", ["float32", "int8"])
def test_logits_are_llama_cpps(
    kv_cache: str, graph: Path, windows: list[list[int]], expected: list[Prediction]
) -> None:
    """The same perplexity, the same favourites, however keys and values are kept.

    Neither side is exact: both round activations to eight bits, each in its own way.
    """
    scales = KeyValueScales.load(graph) if kv_cache == "int8" else None
    engine = Engine(graph, threads=2, context_tokens=WINDOW, scales=scales)
    assert str(engine.cache.saved(0, 0, 1).dtype) == kv_cache
    found = [prediction for window in windows for prediction in predictions(engine, window)]
    agreement = np.mean([one.favourite == other.favourite for one, other in zip(expected, found, strict=True)])
    assert len(found) >= MIN_PREDICTIONS
    assert pytest.approx(perplexity(expected), rel=MAX_PERPLEXITY_DIFFERENCE) == perplexity(found)
    assert agreement >= MIN_TOP1_AGREEMENT

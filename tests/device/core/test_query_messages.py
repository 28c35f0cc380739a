"""What neighbours say to each other about questions: everything written is read back, everything else refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.api_of_models import HeldModel
from device.config import MAX_NAME_CHARACTERS
from device.core import query_messages
from device.core.query_messages import (
    FAILURES,
    MAX_FAILURE_CHARACTERS,
    MAX_MODELS,
    Cancel,
    Done,
    Failed,
    Query,
    QueryMessage,
    Queued,
    Status,
    Tokens,
    parse_message,
)
from device.core.question_items import MAX_QUESTION_ITEMS
from device.errors import NeighbourMisbehavedError
from mesh.core.codec import Item, encode
from models.core.request import (
    MAX_ANSWER_CHARACTERS,
    MAX_LOGPROBS,
    MAX_MESSAGES,
    MAX_NEW_TOKENS,
    MAX_PROMPT_BYTES,
    MAX_SCHEMA_BYTES,
    MAX_TOKEN_BYTES,
    MAX_TOKEN_ID,
    MAX_TOOL_CALLS,
    MAX_TOOLS,
    GenerationFinished,
    GenerationRequest,
    Message,
    SamplingParams,
    TokenLogprob,
    TokensGenerated,
    ToolCall,
)
from models.core.worker_protocol import MAX_IDS, MAX_LOGPROBS_AT_ONCE, MAX_TEXT_CHARACTERS

DIGEST = "0f" * 32
names = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=63)
counts = st.integers(0, 2**31)
millionths = st.integers(1, 1_000_000).map(lambda value: value / 1_000_000)
texts = st.text(max_size=100)  # hypothesis leaves lone surrogates out by itself
sampling = st.builds(
    SamplingParams,
    temperature=millionths,
    top_k=st.integers(0, 1000),
    top_p=millionths,
    min_p=millionths,
    repetition_penalty=st.integers(100_000, 10_000_000).map(lambda value: value / 1_000_000),
    presence_penalty=st.integers(-2_000_000, 2_000_000).map(lambda value: value / 1_000_000),
    frequency_penalty=st.integers(-2_000_000, 2_000_000).map(lambda value: value / 1_000_000),
    seed=st.integers(0, 2**63 - 1),
    max_tokens=st.integers(1, 4096),
    stop=st.lists(st.text("ab\n", min_size=1, max_size=9), max_size=4).map(tuple),
)
calls = st.builds(ToolCall, names, st.text("ab_", min_size=1, max_size=9), st.sampled_from(["{}", '{"city": "Ulm"}']))
conversations = st.lists(
    st.one_of(
        st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts),
        st.builds(Message, st.just("assistant"), texts, st.lists(calls, max_size=2).map(tuple)),
        st.builds(Message, st.just("tool"), texts, st.just(()), names | st.just("")),
    ),
    min_size=1,
)
WEATHER = '{"type": "function", "function": {"name": "weather"}}'
pairs = st.tuples(st.binary(max_size=9), st.integers(-9_999_000_000, 0).map(lambda value: value / 1_000_000))
logprobs = st.builds(
    lambda pair, top: TokenLogprob(pair[0], pair[1], top), pairs, st.lists(pairs, max_size=MAX_LOGPROBS).map(tuple)
)
statuses = st.builds(
    Status,
    name=names,
    models=st.lists(
        st.builds(
            HeldModel,
            name=names,
            digest=st.binary(min_size=32, max_size=32).map(bytes.hex),
            size_bytes=counts,
            licence=st.sampled_from(["", "MIT", "Apache-2.0 AND CC-BY-4.0", "x" * 32]),
            passed_on=st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
)
messages = st.one_of(
    st.builds(Query, st.just(DIGEST), st.builds(GenerationRequest, conversations.map(tuple), sampling)),
    st.builds(
        Query,
        st.just(DIGEST),
        st.builds(
            GenerationRequest,
            conversations.map(tuple),
            st.just(SamplingParams(max_tokens=20)),
            st.lists(counts, max_size=20).map(tuple),
            st.integers(0, 4000),
        ),
    ),
    st.builds(
        Query,
        st.just(DIGEST),
        st.builds(
            GenerationRequest,
            conversations.map(tuple),
            sampling,
            tools=st.sampled_from([(), (WEATHER,)]),
            tool_choice=st.sampled_from(["auto", "none"]),
            schema=st.sampled_from([None, '{"type": "object"}']),
            logprobs=st.none() | st.integers(0, MAX_LOGPROBS),
        ),
    ),
    st.builds(
        Query,
        st.just(DIGEST),
        st.builds(GenerationRequest, st.just(()), sampling, prompt=texts, logprobs=st.none() | st.just(0)),
    ),
    st.builds(
        Tokens,
        counts,
        st.builds(
            TokensGenerated,
            st.lists(counts, max_size=9).map(tuple),
            texts,
            st.lists(logprobs, max_size=MAX_LOGPROBS_AT_ONCE).map(tuple),
        ),
    ),
    st.builds(
        Done,
        st.builds(
            GenerationFinished,
            reason=st.sampled_from(["stop", "length", "cancelled"]),
            prompt_tokens=counts,
            completion_tokens=counts,
            prefill_s=st.integers(0, 10**6).map(lambda ms: ms / 1000),
            decode_s=st.integers(0, 10**6).map(lambda ms: ms / 1000),
        ),
    ),
    st.builds(Failed, st.sampled_from(FAILURES), names),
    st.builds(Cancel),
    st.builds(Queued, st.integers(1, 2**31)),
)


@given(messages)
def test_what_is_written_is_read_back(message: QueryMessage) -> None:
    """Every message survives the wire unchanged."""
    assert parse_message(message.KIND, message.to_body()) == message


@given(statuses)
def test_what_a_node_holds_is_read_back(status: Status) -> None:
    """As other members announce it."""
    assert Status.parse(status.to_body()) == status


def test_a_long_licence_is_cut_and_says_so() -> None:
    """So that it is taken for no other; the card has it whole."""
    model = HeldModel(name="m", digest=bytes(32).hex(), size_bytes=1, licence="LicenseRef-bigscience-bloom-rail-1.0")
    [read] = Status.parse(Status(name="attic", models=(model,)).to_body()).models
    assert read.licence == "LicenseRef-bigscience-bloom-rai…"


def test_a_status_that_would_be_too_long_names_the_models_that_fit() -> None:
    """An announcement has its bounds."""
    models = tuple(
        HeldModel(name=f"{n:064}", digest=bytes(32).hex(), size_bytes=2**52, licence="x" * 32)
        for n in range(MAX_MODELS)
    )
    status = Status(name="attic", models=models)
    read = Status.parse(status.to_body())
    assert 100 <= len(read.models) < MAX_MODELS
    assert status.told == read.models
    assert models[: len(read.models)] == read.models


@pytest.mark.parametrize(
    "fields",
    [
        ["name"],
        ["name", [], True],
        ["n" * 64, []],
        ["name", [["m", b"short", 1, "", True]]],
        ["name", [["m\x1b[2J", bytes(32), 1, "", True]]],
        ["name", [["m", bytes(32), 1]]],
        ["name", [["m", bytes(32), -1, "", True]]],
        ["name", [["m", bytes(32), True, "", True]]],
        ["name", [["m", bytes(32), 1, "x" * 33, True]]],
        ["name", [["m", bytes(32), 1, "\x1b[2J", True]]],
        ["name", [["m", bytes(32), 1, "MIT", 1]]],
        ["name", [["m", bytes(32), 1, "", True]] * (MAX_MODELS + 1)],
    ],
)
def test_a_malformed_status_is_refused(fields: list[Item]) -> None:
    """Whoever announces it."""
    with pytest.raises(NeighbourMisbehavedError):
        Status.parse(encode(fields))


def test_what_a_later_version_tells_of_a_model_is_left_alone() -> None:
    """Older neighbours still hear the rest."""
    [model] = Status.parse(encode(["attic", [["m", bytes(32), 1, "MIT", True, "more", [1, 2]]]])).models
    assert (model.name, model.licence, model.passed_on) == ("m", "MIT", True)


@given(st.integers(17, 21), st.binary(max_size=200))
def test_foreign_bytes_give_a_message_or_one_error(kind: int, body: bytes) -> None:
    """Whatever a neighbour sends, the only thing it can cause is NeighbourMisbehavedError."""
    try:
        message = parse_message(kind, body)
    except NeighbourMisbehavedError:
        return
    assert message is not None
    assert message.to_body() == body


def test_an_unknown_kind_is_no_offence() -> None:
    """A newer neighbour may say more than this version understands."""
    assert parse_message(23, b"whatever") is None


SAMPLING: list[Item] = [0, 0, 1_000_000, 0, 1_000_000, 0, 0, 0, 16, []]
HELLO: Item = [["user", "hello"]]


MALFORMED: list[tuple[int, list[Item]]] = [
    (17, [b"short", [["user", "hello"]], SAMPLING, None, None]),
    (17, [bytes(32), [], SAMPLING, None, None]),
    (17, [bytes(32), [["user"]], SAMPLING, None, None]),
    (17, [bytes(32), [["tool", "hello"]], SAMPLING, None, None]),
    (17, [bytes(32), [["user", "hello"]], SAMPLING[:-1], None, None]),
    (17, [bytes(32), [["user", "hello"]], [*SAMPLING[:-1], [1]], None, None]),
    (17, [bytes(32), [["user", "hello"]], [10**9, *SAMPLING[1:]], None, None]),
    (17, [bytes(32), [["user", "hello"]], SAMPLING]),
    (17, [bytes(32), [["user", "hello"]], SAMPLING, [], None]),
    (17, [bytes(32), [["user", "hello"]], SAMPLING, [[], 0], None]),
    (17, [bytes(32), [["user", "hello"]], SAMPLING, [["1"], 0], None]),
    (17, [bytes(32), [["user", "hello"]], SAMPLING, [[True], 0], None]),
    (17, [bytes(32), [["user", "hello"]], SAMPLING, [[-1], 0], None]),
    (17, [bytes(32), [["user", "hello"]], SAMPLING, [[1] * 17, 0]]),
    (17, [bytes(32), [["user", "hello"]], SAMPLING, [[1], -1], None]),
    (17, [bytes(32), [["user", "hello"]], SAMPLING, [[1], 2**40], None]),
    (17, [bytes(32), [["user", "hello"]], SAMPLING, [[1], 1, 1], None]),
    (17, [bytes(32), 5, SAMPLING, None, None]),
    (17, [bytes(32), "text", [*SAMPLING[:-2], True, []], None, None]),
    (17, [bytes(32), [["tool", "hello", []]], SAMPLING, None, None]),
    (17, [bytes(32), [["user", "hello", "id"]], SAMPLING, None, None]),
    (17, [bytes(32), [["assistant", "hello", []]], SAMPLING, None, None]),
    (17, [bytes(32), [["assistant", "hello", [["id", "name"]]]], SAMPLING, None, None]),
    (17, [bytes(32), [["assistant", "hello", [["id", "name", "[]"]]]], SAMPLING, None, None]),
    (17, [bytes(32), [["user", "hello", [["id", "name", "{}"]]]], SAMPLING, None, None]),
    (17, [bytes(32), HELLO, SAMPLING, None, [[], "auto", None, None]]),
    (17, [bytes(32), HELLO, SAMPLING, None, [[], "required", None, None]]),
    (17, [bytes(32), HELLO, SAMPLING, None, [["{}"], "auto", None, None]]),
    (17, [bytes(32), HELLO, SAMPLING, None, [[1], "auto", None, None]]),
    (17, [bytes(32), HELLO, SAMPLING, None, [[], "auto", "[]", None]]),
    (17, [bytes(32), HELLO, SAMPLING, None, [[], "auto", None, True]]),
    (17, [bytes(32), HELLO, SAMPLING, None, [[], "auto", None, 21]]),
    (17, [bytes(32), HELLO, SAMPLING, None, [[], "auto", None]]),
    (17, [bytes(32), "text", SAMPLING, None, [[WEATHER], "auto", None, None]]),
    (18, [0, [1], b"text", []]),
    (18, [0, ["1"], "text", []]),
    (18, [0, [-1], "text", []]),
    (18, [-1, [1], "text", []]),
    (18, [0, [1] * 2000, "text", []]),
    (18, [0, [1], "t" * 10_000, []]),
    (18, [0, [1], "text"]),
    (18, [0, [1], "text", [[b"t", 1, []]]]),
    (18, [0, [1], "text", [[b"t", False, []]]]),
    (18, [0, [1], "text", [[b"t", -1]]]),
    (18, [0, [1], "text", [["t", -1, []]]]),
    (18, [0, [1], "text", [[b"t", -1, [[b"t"]]]]]),
    (18, [0, [1], "text", [[b"t", -1, [[b"t", -1]] * 21]]]),
    (18, [0, [1], "text", [[b"t" * 129, -1, []]]]),
    (18, [0, [1] * 9, "text", [[b"t", -1, []]] * 9]),
    (19, ["tired", 1, 1, 1, 1]),
    (19, ["stop", 1, 1, 1, -1]),
    (19, ["stop", 1, 1, 2**41, 1]),
    (20, ["no_idea", "text"]),
    (20, ["busy", "t" * (MAX_FAILURE_CHARACTERS + 1)]),
    (20, ["busy"]),
    (21, [1]),
    (22, []),
    (22, [0]),
    (22, [2**40]),
    (22, ["1"]),
]


@pytest.mark.parametrize(("kind", "fields"), MALFORMED)
def test_a_malformed_message_is_refused(kind: int, fields: list[Item]) -> None:
    """Wrong types, wrong counts and values out of range are one error, before anything is done with them."""
    with pytest.raises(NeighbourMisbehavedError):
        parse_message(kind, encode(fields))


def test_an_oversized_body_is_refused_unread() -> None:
    """The bound of a kind holds before its bytes are looked at."""
    with pytest.raises(NeighbourMisbehavedError, match="bytes"):
        parse_message(21, bytes(query_messages.MAX_ANSWER_BYTES + 1))


def test_the_largest_question_fits_its_bounds() -> None:
    """Every message, every byte of content and every token of an answer that there may be, and not an item more."""
    tools = tuple(WEATHER.replace("weather", f"w{n}") for n in range(MAX_TOOLS))
    calls = (ToolCall("i", "n", "{}"),) * MAX_TOOL_CALLS
    left = MAX_PROMPT_BYTES - len("".join(tools)) - 4 * MAX_TOOL_CALLS
    turns = (
        Message("user", "é" * (left // 2)),
        Message("assistant", "", calls),
        *[Message("tool", "")] * (MAX_MESSAGES - 2),
    )
    sampling = SamplingParams(max_tokens=MAX_NEW_TOKENS, seed=2**63 - 1, stop=("x" * 256,) * 8)
    schema = f'{{"x": "{"y" * (MAX_SCHEMA_BYTES - 9)}"}}'
    answered = (MAX_TOKEN_ID,) * MAX_NEW_TOKENS
    request = GenerationRequest(
        turns, sampling, answered, MAX_ANSWER_CHARACTERS, tools=tools, schema=schema, logprobs=MAX_LOGPROBS
    )
    query = Query(DIGEST, request)
    assert parse_message(Query.KIND, query.to_body()) == query
    flood: list[Item] = [bytes(32), HELLO, SAMPLING, [[1] * MAX_QUESTION_ITEMS, 0], None]
    with pytest.raises(NeighbourMisbehavedError, match="items"):
        parse_message(Query.KIND, encode(flood))


def test_the_largest_part_of_an_answer_fits_its_bounds() -> None:
    """As many tokens, characters and log-probabilities as one message may carry."""
    pair = (b"\xff" * MAX_TOKEN_BYTES, -9999.0)
    one = TokenLogprob(*pair, (pair,) * MAX_LOGPROBS)
    generated = TokensGenerated((MAX_TOKEN_ID,) * MAX_IDS, "\U0001f525" * MAX_TEXT_CHARACTERS, (one,) * 8)
    assert parse_message(Tokens.KIND, Tokens(2**31, generated).to_body()) == Tokens(2**31, generated)


def test_names_lose_what_would_steer_a_terminal() -> None:
    """A neighbour's name and reasons are shown to people: control characters do not get through."""
    status = Status.parse(encode(["a\x1b[31mb", []]))
    failed = parse_message(20, encode(["busy", "no\x07w\n"]))
    assert isinstance(failed, Failed)
    assert (status.name, failed.text) == ("a[31mb", "now")


def test_the_tiniest_top_p_stays_a_value() -> None:
    """Rounding to millionths never makes 0, which would be refused."""
    query = Query(DIGEST, GenerationRequest((Message("user", "x"),), SamplingParams(top_p=1e-12)))
    read = parse_message(Query.KIND, query.to_body())
    assert isinstance(read, Query)
    assert read.request.sampling.top_p == 1e-6


def test_every_configured_name_fits_the_wire() -> None:
    """What hearth.toml allows as a name, a neighbour accepts."""
    assert MAX_NAME_CHARACTERS <= query_messages.MAX_NODE_NAME_CHARACTERS

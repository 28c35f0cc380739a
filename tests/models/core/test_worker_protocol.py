"""The worker's wire: what is written is read back, and nothing else is read at all."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core.request import (
    MAX_ANSWER_CHARACTERS,
    MAX_LOGPROBS,
    MAX_NEW_TOKENS,
    MAX_PROMPT_BYTES,
    MAX_SCHEMA_BYTES,
    MAX_TOKEN_BYTES,
    MAX_TOKEN_ID,
    MIN_LOGPROB,
    GenerationFinished,
    GenerationRequest,
    Message,
    SamplingParams,
    TokenLogprob,
    TokensGenerated,
    ToolCall,
)
from models.core.worker_protocol import (
    MAX_COMMAND_BYTES,
    MAX_LOGPROBS_AT_ONCE,
    MAX_REPORT_BYTES,
    MAX_SCOPE_CHARACTERS,
    MAX_SLOTS,
    Cancel,
    Command,
    Convert,
    Event,
    Failed,
    Generate,
    GraphMissing,
    Load,
    Order,
    Progressed,
    Ready,
    Report,
    encode_order,
    encode_report,
    parse_order,
    parse_report,
)
from models.errors import (
    EngineError,
    ModelsError,
    NotEnoughMemoryError,
    NotEnoughSpaceError,
    PromptTooLongError,
    WorkerProtocolError,
)

ASK = GenerationRequest((Message("user", "Where is Paris?"),), SamplingParams(stop=("\n",)))
FINISHED = GenerationFinished(reason="stop", prompt_tokens=3, completion_tokens=2, prefill_s=0.5, decode_s=1.0)

LOAD = {
    "op": "Load",
    "gguf": "a",
    "graphs": "g",
    "template": None,
    "threads": 1,
    "context_tokens": 1,
    "slots": 1,
    "prefix_bytes": 0,
    "kv_cache": "int8",
}
GENERATE = {"op": "Generate"} | {
    key: value for key, value in json.loads(encode_order(Order(1, Generate(ASK)))).items() if key not in ("n", "op")
}
WEATHER = '{"type": "function", "function": {"name": "weather"}}'

texts = st.text(max_size=40)
sampling = st.builds(
    SamplingParams,
    temperature=st.floats(0, 5),
    top_k=st.integers(0, 1000),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 1),
    repetition_penalty=st.floats(0.1, 10),
    presence_penalty=st.floats(-2, 2),
    frequency_penalty=st.floats(-2, 2),
    seed=st.integers(0, 2**63 - 1),
    max_tokens=st.integers(1, 32_768),
    stop=st.lists(st.text(min_size=1, max_size=9), max_size=8).map(tuple),
)
calls = st.builds(ToolCall, st.text(min_size=1, max_size=9), st.just("weather"), st.sampled_from(["{}", '{"a": "é"}']))
conversations = st.lists(
    st.one_of(
        st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts),
        st.builds(Message, st.just("assistant"), texts, st.lists(calls, max_size=2).map(tuple)),
        st.builds(Message, st.just("tool"), texts, st.just(()), texts),
    ),
    min_size=1,
    max_size=4,
).map(tuple)
requests = st.one_of(
    st.builds(
        GenerationRequest,
        conversations,
        sampling,
        tools=st.sampled_from([(), (WEATHER,)]),
        schema=st.none() | st.just('{"type": "object"}'),
        logprobs=st.none() | st.integers(0, MAX_LOGPROBS),
    ),
    st.builds(GenerationRequest, conversations, sampling, tools=st.just((WEATHER,)), tool_choice=st.just("weather")),
    st.builds(GenerationRequest, st.just(()), sampling, prompt=texts),
    st.builds(
        GenerationRequest,
        conversations,
        sampling.map(lambda params: replace(params, max_tokens=50)),
        st.lists(st.integers(0, 2**31), max_size=50).map(tuple),
        st.integers(0, 4000),
    ),
)
paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(Convert, paths, paths, st.integers(0, 64)),
    st.builds(
        Load,
        gguf=paths,
        graphs=paths,
        template=st.none() | texts,
        threads=st.integers(0, 64),
        context_tokens=st.integers(0, 10_000),
        kv_cache=st.sampled_from(["int8", "float32"]),
        slots=st.integers(1, MAX_SLOTS),
        prefix_bytes=st.integers(0, 2**40),
    ),
    st.builds(Generate, requests, st.text("ab:", max_size=9)),
    st.just(Cancel()),
)
seconds = st.floats(0, 1e6)
pairs = st.tuples(st.binary(max_size=9), st.floats(MIN_LOGPROB, 0))
logprobs = st.builds(lambda pair, top: TokenLogprob(pair[0], pair[1], tuple(top)), pairs, st.lists(pairs, max_size=20))
events: st.SearchStrategy[Event] = st.one_of(
    st.just(Ready()),
    st.just(GraphMissing()),
    st.builds(Progressed, st.floats(0, 1)),
    st.builds(
        TokensGenerated,
        st.lists(st.integers(0, 2**31), max_size=5).map(tuple),
        texts,
        st.lists(logprobs, max_size=MAX_LOGPROBS_AT_ONCE).map(tuple),
    ),
    st.builds(
        GenerationFinished,
        reason=st.sampled_from(["stop", "length", "cancelled"]),
        prompt_tokens=st.integers(0, 2**53),
        completion_tokens=st.integers(0, 2**53),
        prefill_s=seconds,
        decode_s=seconds,
    ),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@given(st.integers(0, 2**53), commands)
def test_every_order_survives_the_wire(number: int, command: Command) -> None:
    """The worker carries out exactly what the daemon asked for."""
    assert parse_order(encode_order(Order(number, command))) == Order(number, command)


@given(st.integers(0, 2**53), events)
def test_every_report_survives_the_wire(number: int, event: Event) -> None:
    """The daemon sees exactly what the worker reported."""
    assert parse_report(encode_report(Report(number, event))) == Report(number, event)


@pytest.mark.parametrize(
    "error",
    [
        PromptTooLongError(3000, 2048),
        NotEnoughSpaceError(10, 5, "/data"),
        NotEnoughMemoryError(10, 5, 2048, 0),
        EngineError("the graph was refused"),
    ],
)
def test_an_error_keeps_its_class_and_words(error: ModelsError) -> None:
    """A user reads the same message and hint on either side."""
    event = parse_report(encode_report(Report(1, Failed(error)))).event
    assert isinstance(event, Failed)
    assert (type(error), str(error), error.hint) == (type(event.error), str(event.error), event.error.hint)


def test_an_error_with_odd_arguments_crosses_as_its_message() -> None:
    """Text that UTF-8 cannot write and arguments of a foreign shape do not break the line."""
    for error in (EngineError(), EngineError("a", "b"), EngineError("file \udcff")):
        event = parse_report(encode_report(Report(1, Failed(error)))).event
        assert isinstance(event, Failed)
        assert isinstance(event.error, EngineError)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"n":1}',
        b'{"n":-1,"event":"Ready","op":"Cancel"}',
        b'{"n":true,"event":"Ready","op":"Cancel"}',
        b'{"n":1,"event":[],"op":[]}',
        b'{"n":1,"event":"Surprise","op":"Surprise"}',
        b'{"n":1,"event":"Ready","op":"Cancel","more":1}',
        b'{"n":1,"event":"GraphMissing","op":"Convert"}x',
        b'{"n":1,"event":"GraphMissing","more":1,"op":"Convert"}',
        b'{"n":1,"event":"Progressed","fraction":NaN,"op":"Convert"}',
        b'{"n":1,"event":"TokensGenerated","ids":[-1],"text":"","op":"Convert"}',
        b'{"n":1,"event":"TokensGenerated","ids":[],"text":"\\ud800","op":"Convert"}',
        b'{"n":1,"event":"TokensGenerated","ids":[],"text":"","more":[],"op":"Convert"}',
        b'{"n":1,"event":"GenerationFinished","reason":"bored"}',
        b'{"n":1,"event":"Failed","code":"PromptTooLongError","args":["a","b"]}',
        b'{"n":1,"event":"Failed","code":"EngineError","args":["\\ud800"]}',
    ],
)
def test_what_is_no_line_is_refused_by_both_sides(line: bytes) -> None:
    """A worker gone mad cannot crash the daemon, whatever it writes."""
    for parse in (parse_report, parse_order):
        with pytest.raises(WorkerProtocolError):
            parse(line)


@pytest.mark.parametrize(
    "logprobs",
    [
        5,
        [5],
        [["61", -1]],
        [["61", 1, []]],
        [["61", None, []]],
        [["6", -1, []]],
        [["61" * 129, -1, []]],
        [["61", -1, [5]]],
        [["61", -1, [["61", -1]] * 21]],
        [["61", -1, []]] * 9,
    ],
)
def test_log_probabilities_that_are_none_are_refused(logprobs: object) -> None:
    """Each is a token's bytes in hexadecimal, a number up to 0, and a bounded list of such pairs."""
    line = json.dumps({"n": 1, "event": "TokensGenerated", "ids": [1], "text": "", "logprobs": logprobs})
    with pytest.raises(WorkerProtocolError):
        parse_report(line.encode())


@given(st.sampled_from(["Progressed", "TokensGenerated", "GenerationFinished", "Failed"]), st.data())
def test_wrong_types_in_a_report_never_escape(kind: str, data: st.DataObject) -> None:
    """Each field of each event may hold anything: the answer is a report or WorkerProtocolError, nothing else."""
    names = ["fraction", "ids", "text", "logprobs", "reason", "prompt_tokens", "completion_tokens", "code", "args"]
    fields = data.draw(st.dictionaries(st.sampled_from(names), json_values, max_size=6))
    try:
        report = parse_report(json.dumps({"n": 1, "event": kind} | fields).encode())
    except WorkerProtocolError:
        return
    assert report.number == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"op": "Convert", "gguf": "", "graphs": "g", "threads": 1},
        {"op": "Convert", "gguf": "a\0b", "graphs": "g", "threads": 1},
        {"op": "Convert", "gguf": "a", "graphs": "g", "threads": "1"},
        {"op": "Load", "gguf": "a", "graphs": "g", "template": None, "threads": 1, "context_tokens": 1},
        LOAD | {"threads": True},
        LOAD | {"kv_cache": "int4"},
        LOAD | {"slots": 0},
        LOAD | {"slots": MAX_SLOTS + 1},
        LOAD | {"prefix_bytes": -1},
        LOAD | {"more": 1},
        GENERATE | {"scope": "x" * (MAX_SCOPE_CHARACTERS + 1)},
        GENERATE | {"scope": 5},
        {"op": "Generate", "messages": [["user"]], "sampling": {}},
        {"op": "Generate", "messages": [["user", "hello"]], "sampling": {"stop": []}},
        GENERATE | {"messages": [["user"]]},
        GENERATE | {"messages": [["user", "x", [], 5]]},
        GENERATE | {"messages": [["user", "x", [["id", "name"]], ""]]},
        GENERATE | {"sampling": {"stop": []}},
        GENERATE | {"answered": 5},
        GENERATE | {"tools": 5},
        GENERATE | {"more": 5},
        {"op": "Cancel", "more": 1},
    ],
)
def test_a_malformed_order_is_refused(fields: dict[str, object]) -> None:
    """The worker checks the daemon's lines too: a mistake shows at once."""
    with pytest.raises(WorkerProtocolError):
        parse_order(json.dumps({"n": 1, **fields}).encode())


def test_lines_are_bounded() -> None:
    """A line longer than its bound is refused before it is parsed; the largest legal ones stay within."""
    with pytest.raises(WorkerProtocolError, match="bytes"):
        parse_report(b" " * (MAX_REPORT_BYTES + 1))
    with pytest.raises(WorkerProtocolError, match="bytes"):
        parse_order(b" " * (MAX_COMMAND_BYTES + 1))
    pair = (b"x" * MAX_TOKEN_BYTES, -1234.567891)
    likely = (TokenLogprob(*pair, (pair,) * MAX_LOGPROBS),) * 5000
    widest = Report(1, TokensGenerated((2**31,) * 5000, "\U0001f525" * 10_000, likely))
    assert len(encode_report(widest)) <= MAX_REPORT_BYTES
    assert isinstance(parse_report(encode_report(widest)).event, TokensGenerated)
    params = SamplingParams(max_tokens=MAX_NEW_TOKENS)
    answered = (MAX_TOKEN_ID,) * MAX_NEW_TOKENS
    schema = json.dumps({"x": "\U0001f525" * (MAX_SCHEMA_BYTES // 4 - 9)}, ensure_ascii=False)
    turns = (Message("user", "\0" * MAX_PROMPT_BYTES),)
    prompt = GenerationRequest(turns, params, answered, MAX_ANSWER_CHARACTERS, schema=schema)
    assert parse_order(encode_order(Order(1, Generate(prompt)))).command == Generate(prompt)


def test_events_compare_by_value() -> None:
    """What a test or a screen holds is what was sent."""
    assert parse_report(encode_report(Report(7, FINISHED))) == Report(7, FINISHED)
    assert parse_order(encode_order(Order(7, Generate(ASK)))) == Order(7, Generate(ASK))

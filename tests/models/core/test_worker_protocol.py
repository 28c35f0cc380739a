"""The worker's wire: what is written is read back, and nothing else is read at all."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core.request import (
    MAX_ANSWER_CHARACTERS,
    MAX_NEW_TOKENS,
    MAX_PROMPT_BYTES,
    MAX_TOKEN_ID,
    GenerationFinished,
    GenerationRequest,
    Message,
    SamplingParams,
    TokensGenerated,
)
from models.core.worker_protocol import (
    MAX_COMMAND_BYTES,
    MAX_REPORT_BYTES,
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
    InvalidRequestError,
    ModelsError,
    NotEnoughSpaceError,
    PromptTooLongError,
    WorkerProtocolError,
)

ASK = GenerationRequest((Message("user", "Where is Paris?"),), SamplingParams(stop=("\n",)))
FINISHED = GenerationFinished(reason="stop", prompt_tokens=3, completion_tokens=2, prefill_s=0.5, decode_s=1.0)

texts = st.text(max_size=40)
sampling = st.builds(
    SamplingParams,
    temperature=st.floats(0, 5),
    top_k=st.integers(0, 1000),
    top_p=st.floats(0.01, 1),
    repetition_penalty=st.floats(0.1, 10),
    seed=st.integers(0, 2**63 - 1),
    max_tokens=st.integers(1, 32_768),
    stop=st.lists(st.text(min_size=1, max_size=9), max_size=8).map(tuple),
)
conversations = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts), min_size=1, max_size=4
).map(tuple)
requests = st.one_of(
    st.builds(GenerationRequest, conversations, sampling),
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
    st.builds(Convert, paths, paths),
    st.builds(
        Load,
        gguf=paths,
        graphs=paths,
        template=st.none() | texts,
        threads=st.integers(0, 64),
        context_tokens=st.integers(1, 10_000),
    ),
    st.builds(Generate, requests),
    st.just(Cancel()),
)
seconds = st.floats(0, 1e6)
events: st.SearchStrategy[Event] = st.one_of(
    st.just(Ready()),
    st.just(GraphMissing()),
    st.builds(Progressed, st.floats(0, 1)),
    st.builds(TokensGenerated, st.lists(st.integers(0, 2**31), max_size=5).map(tuple), texts),
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


@given(st.sampled_from(["Progressed", "TokensGenerated", "GenerationFinished", "Failed"]), st.data())
def test_wrong_types_in_a_report_never_escape(kind: str, data: st.DataObject) -> None:
    """Each field of each event may hold anything: the answer is a report or WorkerProtocolError, nothing else."""
    names = ["fraction", "ids", "text", "reason", "prompt_tokens", "completion_tokens", "prefill_s", "code", "args"]
    fields = data.draw(st.dictionaries(st.sampled_from(names), json_values, max_size=6))
    try:
        report = parse_report(json.dumps({"n": 1, "event": kind} | fields).encode())
    except WorkerProtocolError:
        return
    assert report.number == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"op": "Convert", "gguf": "", "graphs": "g"},
        {"op": "Convert", "gguf": "a\0b", "graphs": "g"},
        {"op": "Load", "gguf": "a", "graphs": "g", "template": None, "threads": True, "context_tokens": 1},
        {"op": "Generate", "messages": [["user"]], "sampling": {}},
        {"op": "Generate", "messages": [["user", "hello"]], "sampling": {"stop": []}},
        {"op": "Generate", "messages": [["user"]], "sampling": {}, "answered": [], "characters": 0},
        {"op": "Generate", "messages": [["user", "x"]], "sampling": {"stop": []}, "answered": [], "characters": 0},
        {"op": "Generate", "messages": [["user", "x"]], "sampling": {"stop": []}, "answered": 5, "characters": 0},
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
    widest = Report(1, TokensGenerated((2**31,) * 5000, "\U0001f525" * 10_000))
    assert len(encode_report(widest)) <= MAX_REPORT_BYTES
    assert isinstance(parse_report(encode_report(widest)).event, TokensGenerated)
    params = SamplingParams(max_tokens=MAX_NEW_TOKENS)
    answered = (MAX_TOKEN_ID,) * MAX_NEW_TOKENS
    prompt = GenerationRequest((Message("user", "\0" * MAX_PROMPT_BYTES),), params, answered, MAX_ANSWER_CHARACTERS)
    assert parse_order(encode_order(Order(1, Generate(prompt)))).command == Generate(prompt)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", True),
        ("temperature", 10**400),
        ("top_k", 1.5),
        ("top_p", 0),
        ("repetition_penalty", 0.0),
        ("seed", -1),
        ("max_tokens", 0),
        ("max_tokens", "many"),
        ("stop", ("",)),
        ("stop", ("\ud800",)),
        ("stop", ("x",) * 9),
        ("stop", ["x"]),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: Any) -> None:  # noqa: ANN401  wrong types on purpose
    """The message begins with the parameter's name, so that an API can point at it."""
    with pytest.raises(InvalidRequestError, match=f"^{name}: "):
        replace(SamplingParams(), **{name: value})


def test_a_conversation_is_bounded_and_writable() -> None:
    """Roles, number, size and characters of the messages are checked where they enter."""
    with pytest.raises(InvalidRequestError, match="role"):
        Message("oracle", "hello")
    with pytest.raises(InvalidRequestError, match="content"):
        Message("user", "\ud800")
    with pytest.raises(InvalidRequestError, match="messages"):
        GenerationRequest((), SamplingParams())
    with pytest.raises(InvalidRequestError, match="bytes"):
        GenerationRequest((Message("user", "x" * (MAX_PROMPT_BYTES + 1)),), SamplingParams())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("answered", (1,) * 513),
        ("answered", (-1,)),
        ("answered", (2**31 + 1,)),
        ("answered", (True,)),
        ("answered", ("1",)),
        ("answered", [1]),
        ("characters", -1),
        ("characters", 1.0),
        ("characters", MAX_ANSWER_CHARACTERS + 1),
    ],
)
def test_a_begun_answer_is_bounded(name: str, value: Any) -> None:  # noqa: ANN401  wrong types on purpose
    """No more tokens than the whole answer may have, and no ids or counts that are none."""
    with pytest.raises(InvalidRequestError, match=f"^{name}: "):
        replace(ASK, **{name: value})


def test_events_compare_by_value() -> None:
    """What a test or a screen holds is what was sent."""
    assert parse_report(encode_report(Report(7, FINISHED))) == Report(7, FINISHED)
    assert parse_order(encode_order(Order(7, Generate(ASK)))) == Order(7, Generate(ASK))

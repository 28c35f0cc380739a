"""Vectors of questions and answers: the bodies of kinds 17 to 22, and of announcements (kind 0 here)."""

from dataclasses import asdict

from device.api_of_models import HeldModel
from device.core.query_messages import Cancel, Done, Failed, Query, Queued, Status, Tokens
from mesh.core import codec
from mesh.core.codec import Item
from models.core.request import (
    GenerationFinished,
    GenerationRequest,
    Message,
    SamplingParams,
    TokenLogprob,
    TokensGenerated,
    ToolCall,
)
from tests.vectors.family import Family, Json, case, invalid

DIGEST = b"d" * 32
SAMPLING: list[Item] = [700_000, 40, 900_000, 50_000, 1_100_000, 200_000, -300_000, 7, 64, ["\n\n"]]
WEATHER = '{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}'
MESSAGES: list[Item] = [["system", "Be brief."], ["user", "Où est la gare ?"]]


def questions() -> Family:
    """One message of each kind, and everything that is none."""
    sampling = SamplingParams(
        temperature=0.7,
        top_k=40,
        top_p=0.9,
        min_p=0.05,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=-0.3,
        seed=7,
        max_tokens=64,
        stop=("\n\n",),
    )
    messages = (Message("system", "Be brief."), Message("user", "Où est la gare ?"))
    request = GenerationRequest(messages, sampling)
    begun = GenerationRequest(messages, sampling, (3, 14, 15), 9)
    turns = (
        Message("user", "Et à Ulm ?"),
        Message("assistant", "", (ToolCall("c1", "weather", '{"city":"Ulm"}'),)),
        Message("tool", "rain", (), "c1"),
    )
    called = GenerationRequest(turns, sampling, tools=(WEATHER,), tool_choice="weather", logprobs=1)
    fitting = GenerationRequest(messages, sampling, schema='{"type":"object"}')
    raw = GenerationRequest((), sampling, prompt="Il était une fois")
    likely = TokenLogprob(b" gare", -0.25, ((b" gare", -0.25), (b" porte", -2.5)))
    status = Status(
        name="kitchen",
        models=(HeldModel(name="m", digest=DIGEST.hex(), size_bytes=98_000_000, licence="MIT", passed_on=False),),
    )
    finished = GenerationFinished(reason="stop", prompt_tokens=20, completion_tokens=5, prefill_s=0.25, decode_s=1.5)
    told = {name: value for name, value in asdict(finished).items() if name != "cached_tokens"}  # the node's own affair
    cases = [
        case(
            "STATUS, the body of an announcement",
            status.to_body(),
            kind=0,
            name_of_node="kitchen",
            models=[asdict(one) for one in status.models],
        ),
        case("QUERY", Query(DIGEST.hex(), request).to_body(), kind=17, **_query(request)),
        case("QUERY that goes on with an answer", Query(DIGEST.hex(), begun).to_body(), kind=17, **_query(begun)),
        case("QUERY with a tool that must be called", Query(DIGEST.hex(), called).to_body(), kind=17, **_query(called)),
        case("QUERY whose answer must fit", Query(DIGEST.hex(), fitting).to_body(), kind=17, **_query(fitting)),
        case("QUERY with a text to complete", Query(DIGEST.hex(), raw).to_body(), kind=17, **_query(raw)),
        case(
            "TOKENS",
            Tokens(3, TokensGenerated((1, 70_000), " gare")).to_body(),
            kind=18,
            n=3,
            ids=[1, 70_000],
            text=" gare",
            logprobs=[],
        ),
        case(
            "TOKENS with log-probabilities",
            Tokens(4, TokensGenerated((70_000,), " gare", (likely,))).to_body(),
            kind=18,
            n=4,
            ids=[70_000],
            text=" gare",
            logprobs=[[b" gare".hex(), -0.25, [[b" gare".hex(), -0.25], [b" porte".hex(), -2.5]]]],
        ),
        case(
            "TOKENS that say: still at it",
            Tokens(0, TokensGenerated((), "")).to_body(),
            kind=18,
            n=0,
            ids=[],
            text="",
            logprobs=[],
        ),
        case("DONE", Done(finished).to_body(), kind=19, finished=told),
        case("FAILED", Failed("busy", "four questions").to_body(), kind=20, code="busy", text="four questions"),
        case(
            "FAILED, which no other node may be asked about",
            Failed("unforeseen", "").to_body(),
            kind=20,
            code="unforeseen",
            text="",
        ),
        case("CANCEL", Cancel().to_body(), kind=21),
        case("QUEUED", Queued(3).to_body(), kind=22, place=3),
    ]
    return {
        "about": "Section 7: bodies of the device's messages, by kind",
        "cases": cases,
        "invalid": [invalid(reason, codec.encode(body), kind=kind) for reason, kind, body in _none()],
    }


def _query(request: GenerationRequest) -> Json:
    return {
        "digest": DIGEST.hex(),
        "messages": [asdict(message) for message in request.messages],
        "sampling": asdict(request.sampling),
        "answered": list(request.answered),
        "characters": request.characters,
        "prompt": request.prompt,
        "tools": list(request.tools),
        "tool_choice": request.tool_choice,
        "schema": request.schema,
        "logprobs": request.logprobs,
    }


def _none() -> list[tuple[str, int, list[Item]]]:
    model: list[Item] = ["m", DIGEST, 1, "MIT", True]
    return [
        ("a node name of 64 characters", 0, ["n" * 64, []]),
        ("a model without its size", 0, ["n", [model[:2]]]),
        ("a digest of 31 bytes", 0, ["n", [["m", DIGEST[:31], 1, "MIT", True]]]),
        ("a model name that steers a terminal", 0, ["n", [["\x1b[2J", DIGEST, 1, "MIT", True]]]),
        ("a licence that steers a terminal", 0, ["n", [["m", DIGEST, 1, "\x1b[2J", True]]]),
        ("257 models", 0, ["n", [model] * 257]),
        ("a status with a third field", 0, ["n", [], True]),
        ("a question without its sampling", 17, [DIGEST, MESSAGES]),
        ("a role that is none", 17, [DIGEST, [["tool", "x"]], SAMPLING, None, None]),
        ("no messages", 17, [DIGEST, [], SAMPLING, None, None]),
        ("a temperature above 5", 17, [DIGEST, MESSAGES, [5_000_001, *SAMPLING[1:]], None, None]),
        ("a top p of 0", 17, [DIGEST, MESSAGES, [*SAMPLING[:2], 0, *SAMPLING[3:]], None, None]),
        ("no tokens asked for", 17, [DIGEST, MESSAGES, [*SAMPLING[:5], 0, []], None, None]),
        ("a stop of no characters", 17, [DIGEST, MESSAGES, [*SAMPLING[:9], [""]], None, None]),
        (
            "a frequency penalty below -2",
            17,
            [DIGEST, MESSAGES, [*SAMPLING[:6], -2_000_001, *SAMPLING[7:]], None, None],
        ),
        (
            "a call whose arguments are no object",
            17,
            [DIGEST, [["assistant", "", [["c", "f", "1"]]]], SAMPLING, None, None],
        ),
        ("no wish in two ways", 17, [DIGEST, MESSAGES, SAMPLING, None, [[], "auto", None, None]]),
        ("a call to a tool that is not there", 17, [DIGEST, MESSAGES, SAMPLING, None, [[], "weather", None, None]]),
        ("tools beside a text to complete", 17, [DIGEST, "Il", SAMPLING, None, [[WEATHER], "auto", None, None]]),
        ("a schema that is no object", 17, [DIGEST, MESSAGES, SAMPLING, None, [[], "auto", "true", None]]),
        ("21 alternatives", 17, [DIGEST, MESSAGES, SAMPLING, None, [[], "auto", None, 21]]),
        ("a negative token id", 18, [0, [-1], "", []]),
        ("more than 1024 tokens", 18, [0, [1] * 1025, "", []]),
        ("a negative place", 18, [-1, [], "", []]),
        ("a probability above 1", 18, [0, [1], "", [[b"a", 1, []]]]),
        ("9 log-probabilities at once", 18, [0, [1] * 9, "", [[b"a", -1, []]] * 9]),
        ("an end for a reason that is none", 19, ["tired", 1, 1, 1, 1]),
        ("a negative count", 19, ["stop", -1, 1, 1, 1]),
        ("a code that is none", 20, ["sleepy", "text"]),
        ("a text of 501 characters", 20, ["busy", "x" * 501]),
        ("a cancellation with a field", 21, [1]),
        ("a place before the first", 22, [0]),
        ("a place that is a word", 22, ["next"]),
    ]

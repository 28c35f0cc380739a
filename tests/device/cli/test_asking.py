"""Questions from a terminal and from a pipe: ask, run, chat."""

import json

import pytest

from tests.device.cli.conftest import Hearth
from tests.sim.daemon import PARTS, SimulatedDaemon
from tests.sim.scripts import ATTIC_ID, EMBER_ID, MODEL

pytestmark = pytest.mark.usefixtures("daemon")


def test_ask_prints_the_answer_alone(hearth: Hearth) -> None:
    """In a pipe the answer is all there is; who gave it stands on stderr."""
    done = hearth("ask", "What is the capital", "of France?")
    assert done.out == "The capital of France is Paris.\n"
    assert done.err == f"— answered by workshop ({EMBER_ID[:8]}) with smollm2-135m, 31 tokens/s\n"


def test_ask_says_who_gave_which_part(hearth: Hearth) -> None:
    """Where a node failed in mid-answer and another went on, both are named."""
    done = hearth("ask", "pass on")
    assert done.out == "The capital of France is Paris.\n"
    assert done.err == (
        f"— answered by workshop ({EMBER_ID[:8]}), then attic ({ATTIC_ID[:8]}) from token 3, with smollm2-135m, "
        "31 tokens/s\n"
    )
    said = json.loads(hearth("ask", "--json", "pass on").out)
    assert said["node_name"] == "workshop"
    assert said["parts"] == PARTS


def test_ask_for_programs(hearth: Hearth) -> None:
    """One object with the answer, who gave it, with what, and how fast."""
    assert json.loads(hearth("ask", "--json", "capital?").out) == {
        "answer": "The capital of France is Paris.",
        "node_id": EMBER_ID,
        "node_name": "workshop",
        "model": MODEL["name"],
        "model_digest": MODEL["digest"],
        "prompt_tokens": 37,
        "cached_tokens": 0,
        "completion_tokens": 8,
        "ttft_ms": 84.2,
        "tokens_per_s": 31.4,
        "finish_reason": "stop",
        "parts": [],
    }


def test_complete_goes_on_with_a_text(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """As an argument or on standard input; in a pipe what the model says is all there is."""
    for done in (hearth("complete", "--model", "m", "The capital", "of France"), hearth("complete", stdin="The end")):
        assert done.out == "The capital of France is Paris.\n"
        assert "answered by workshop" in done.err
    assert [(path, body["prompt"]) for _, path, body in daemon.asked[-2:]] == [
        ("/v1/completions", "The capital of France"),
        ("/v1/completions", "The end"),
    ]
    assert json.loads(hearth("complete", "--json", "The end").out)["finish_reason"] == "stop"
    assert hearth("complete", stdin=" ").code == 2


def test_ask_hands_on_every_option(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """What the options say reaches the daemon; what is not said is left out."""
    words = "--node local --model m --system Be-brief --temperature 0.5 --top-k 40 --top-p 0.9 --seed 7 --max-tokens 9"
    hearth("ask", "hi", *words.split(), "--repetition-penalty", "1.1", "--stop", "a", "--stop", "b")
    assert daemon.asked[-1][2] == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be-brief"}, {"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "hearthmesh": {"node": "local"},
        "temperature": 0.5,
        "top_k": 40,
        "top_p": 0.9,
        "repetition_penalty": 1.1,
        "seed": 7,
        "max_tokens": 9,
        "stop": ["a", "b"],
    }
    hearth("ask", "hi")
    assert set(daemon.asked[-1][2]) == {"model", "messages", "stream", "stream_options", "hearthmesh"}


def test_a_wrong_option_is_named_as_it_was_typed(hearth: Hearth) -> None:
    """The person typed an option, not a field of the API; the help says the ranges."""
    done = hearth("ask", "--temperature", "9", "hi")
    assert (done.code, done.err) == (1, "error: --temperature: 0 to 5\nhint: see hearth ask --help\n")
    for said in ("0 to 5", "0.1 to 10", "512"):
        assert said in hearth("ask", "--help").out


def test_an_answer_that_is_cut(hearth: Hearth) -> None:
    """How long it became, and which option allows more."""
    assert hearth("ask", "length").err.endswith(", cut at the length allowed (8 tokens; --max-tokens)\n")


@pytest.mark.parametrize("words", [["ask"], ["ask", "-"], ["run", "m", "-"]])
def test_the_question_on_standard_input(hearth: Hearth, daemon: SimulatedDaemon, words: list[str]) -> None:
    """Without a question, or with -, standard input is the question; none at all is a usage error."""
    assert hearth(*words, stdin="two\nlines").code == 0
    assert daemon.asked[-1][2]["messages"][-1]["content"] == "two\nlines"
    assert hearth(*words, stdin=" \n").code == 2


def test_an_answer_that_breaks_off(hearth: Hearth) -> None:
    """What had come stands on stdout, the reason on stderr, and the exit code says that it failed."""
    done = hearth("ask", "fail")
    assert done.code == 1
    assert done.out == "The capital\n"
    assert done.err == "error: the neighbour stopped answering\nhint: ask again\n"
    assert hearth("ask", "--json", "fail").out == ""


def test_run_names_the_model(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """`run MODEL QUESTION` asks that model."""
    assert hearth("run", "stories-42m", "hello").out == "The capital of France is Paris.\n"
    assert daemon.asked[-1][2]["model"] == "stories-42m"


def test_chat_remembers(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Each line is a turn of one conversation, which the next question brings along."""
    done = hearth("chat", "--system", "Be kind.", stdin="first\n\nsecond\n")
    assert done.code == 0
    assert done.out == "The capital of France is Paris.\n" * 2
    assert [message["content"] for message in daemon.asked[-1][2]["messages"]] == [
        "Be kind.",
        "first",
        "The capital of France is Paris.",
        "second",
    ]
    lines = hearth("run", "m", "--json", stdin="first\nsecond\n").out.splitlines()
    assert [json.loads(line)["answer"] for line in lines] == ["The capital of France is Paris."] * 2


@pytest.mark.parametrize("last", ["/bye", "exit", "quit"])
def test_chat_from_a_pipe_knows_the_commands(hearth: Hearth, daemon: SimulatedDaemon, last: str) -> None:
    """As at a terminal: a command is no question, an unknown one is called so, and the last word ends it."""
    done = hearth("chat", stdin=f"/help\n/nonsense now\n/model m\nhello\n{last}\nnever\n")
    assert done.code == 0
    assert done.err.count("/node NODE") == 2
    assert "unknown command /nonsense\n" in done.err
    asked = [body for _, path, body in daemon.asked if path.startswith("/v1")]
    assert [(body["model"], body["messages"][-1]["content"]) for body in asked] == [("m", "hello")]


def test_chat_from_a_pipe_ends_at_an_error(hearth: Hearth) -> None:
    """A script learns that its conversation failed."""
    assert hearth("chat", stdin="too long\nnext\n").code == 1


def test_a_question_that_waits_says_its_place(hearth: Hearth) -> None:
    """On stderr, so that the answer stays clean; not at all for programs."""
    done = hearth("ask", "queue up")
    assert done.err.splitlines()[:2] == ["place 3 in the queue", "place 1 in the queue"]
    assert done.out == "The capital of France is Paris.\n"
    assert "place" not in hearth("ask", "queue up", "--json").err


def test_a_question_that_waits_for_its_model_says_so(hearth: Hearth) -> None:
    """A conversion is told now and then, not each per cent of it."""
    done = hearth("ask", "load it")
    assert done.err.splitlines()[:3] == ["the model: loading", "the model: converting 15 %", "the model: loading"]
    assert "the model:" not in hearth("ask", "load it", "--json").err

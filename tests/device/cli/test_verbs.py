"""Each verb: what it asks of the daemon, what it prints for people and for programs."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.api import Status
from device.cli import rekey
from device.cli.join import normalised
from device.parsing import parse
from tests.device.cli.conftest import Hearth
from tests.sim.daemon import PARTS, SimulatedDaemon
from tests.sim.scripts import ATTIC_ID, EMBER_ID, GUESTS, HTTPS, MODEL, OFFER, SPARK_ID

pytestmark = pytest.mark.usefixtures("daemon")


def test_status_fits_eighty_columns(hearth: Hearth) -> None:
    """A person sees the node and its neighbours, ids shortened in the table."""
    done = hearth("status")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    assert SPARK_ID in done.out
    assert "0 running, 0 waiting; asked 3 here, answered 12 for neighbours\n" in done.out
    assert f"{EMBER_ID[:8]}  workshop   linked       direct  2 h 13 min  smollm2-135m" in done.out


def test_status_for_programs(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """A program gets one object with the API's own names."""
    assert json.loads(hearth("status", "--json").out) == daemon.status


def test_status_of_a_node_alone(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Who has nobody and nothing yet is told how to get it."""
    daemon.status |= {"community": None, "neighbours": [], "models": []}
    out = hearth("status").out
    assert "hearth pair" in out
    assert "hearth models ls" in out


def test_the_status_says_the_fingerprint_of_https(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """As browsers show it, in two lines that fit; nothing where HTTPS is not wanted."""
    assert "https" not in hearth("status").out
    daemon.status["https"] = HTTPS
    out = hearth("status").out
    assert max(map(len, out.splitlines())) <= 80
    assert "port 4328" in out
    assert (
        "".join(line.strip() for line in out.splitlines() if ":A1:" in line or ":B1:" in line) == HTTPS["fingerprint"]
    )
    assert json.loads(hearth("status", "--json").out)["https"] == HTTPS


def test_guests_are_told_the_encrypted_addresses_too(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """With the fingerprint to compare; what is said of the plain ones stays."""
    https_urls = [url.replace("http:", "https:").replace("4327", "4328") for url in GUESTS["urls"]]
    daemon.guests = {**GUESTS, "https_urls": https_urls, "fingerprint": HTTPS["fingerprint"]}
    done = hearth("guests", "status")
    assert [line.strip() for line in done.out.splitlines() if "https://" in line] == https_urls
    assert "warns of the certificate once" in done.out
    assert (
        "".join(line.strip() for line in done.out.splitlines() if ":A1:" in line or ":B1:" in line)
        == (HTTPS["fingerprint"])
    )
    assert "http:// is not encrypted" in done.err


def test_status_says_what_is_wrong_with_the_node(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """A cloned card, say, is not left to those who ask the doctor."""
    daemon.status["warnings"] = ["another board uses this node's identity"]
    assert "warning: another board uses this node's identity (hearth doctor)\n" in hearth("status").out


def test_doctor(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """What is wrong comes first, each with what to do; the exit code is for scripts."""
    done = hearth("doctor")
    assert done.code == 1
    assert done.out.splitlines() == [
        "fault: attic is in sight, but cannot be reached: 192.168.1.33 port 8883: no answer",
        "  do: let TCP 8883 through its firewall",
        "note: shed is blocked on this node",
        "  do: hearth peers unblock t2t2t2t2",
    ]
    assert json.loads(hearth("doctor", "--json").out) == daemon.diagnosis


def test_doctor_of_a_node_that_is_well(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Nothing to do, and nothing that a script must look at."""
    daemon.diagnosis |= {"sound": True, "reached": 2, "findings": [{"severity": "odd", "what": "w", "remedy": "r"}]}
    done = hearth("doctor")
    assert (done.code, done.out) == (0, "Nothing is wrong: 2 of 2 other members in reach.\nodd: w\n  do: r\n")


def test_doctor_without_a_daemon(hearth: Hearth, daemon: SimulatedDaemon, tmp_path: Path) -> None:
    """How to start it; and what keeps it from starting, if that is the configuration."""
    daemon.stop()
    done = hearth("doctor")
    assert (done.code, done.err) == (1, "")
    assert done.out.startswith("fault: Hearthmesh is not running here")
    assert done.out.endswith(f"  do: start it: hearth serve --data {tmp_path}\n")
    (tmp_path / "hearth.toml").write_text("[mqtt]\nprot = 1\n")
    findings = json.loads(hearth("doctor", "--json").out)["findings"]
    assert "unknown key mqtt.prot" in findings[0]["what"]
    assert len(findings) == 2


def test_peers(hearth: Hearth) -> None:
    """Neighbours, strangers in reach and members, each with what is known of them."""
    out = hearth("peers").out
    assert "192.168.1.40" in out
    assert "192.168.1.21" not in out
    assert "observer" in out
    assert hearth("peers", "list").out == out
    assert json.loads(hearth("peers", "--json").out) == json.loads(hearth("peers", "list", "--json").out)


def test_the_fingerprints_to_compare(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Who came in can be checked: each member's fingerprint, and which member this node is; `pair` says where."""
    lines = hearth("peers").out.splitlines()
    assert f"{EMBER_ID[:8]}  workshop             observer  mq7w z4td hb3y nkxc 5ovr" in lines
    assert [line for line in lines if "(this node)" in line] == [
        f"{SPARK_ID[:8]}  kitchen (this node)  voter     k3v5 x2ab qpzr 7mtn w4y6"
    ]
    assert json.loads(hearth("peers", "--json").out)["members"] == daemon.peers["members"]
    assert "then compare the fingerprint: hearth peers" in hearth("pair").out


def test_peers_that_are_far_or_away(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """How many hops, and why a member is not reached."""
    daemon.status["neighbours"][0] |= {"state": "reachable", "hops": 3}
    out = hearth("peers").out
    assert "workshop   reachable    3 hops  2 h 13 min" in out
    assert "attic        192.168.1.33 port 8883: no answer" in out


@pytest.mark.parametrize(
    ("action", "method", "path"),
    [("forget", "DELETE", ""), ("block", "POST", "/block"), ("unblock", "DELETE", "/block")],
)
def test_forget_block_and_unblock(hearth: Hearth, daemon: SimulatedDaemon, action: str, method: str, path: str) -> None:
    """The beginning of an id is enough; a wrong one is refused with the daemon's hint."""
    assert hearth("peers", action, EMBER_ID[:8]).code == 0
    assert daemon.asked[-1] == (method, f"/api/peers/{EMBER_ID[:8]}{path}", {})
    assert hearth("peers", action, EMBER_ID[:8], "--json").out == "{}\n"
    done = hearth("peers", action, "zz")
    assert done.code == 1
    assert done.err == "error: no node's id begins with zz\nhint: see who is there: hearth peers\n"


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


def test_pair(hearth: Hearth) -> None:
    """The words stand in the command to type; a program gets the API's object; no QR code in a pipe."""
    done = hearth("pair")
    assert f"hearth join {OFFER['words']}" in done.out
    assert OFFER["fingerprint"] in done.out
    assert "█" not in done.out
    assert json.loads(hearth("pair", "--json").out) == OFFER
    assert hearth("pair", "--close").out == "The offer is closed.\n"


def test_join(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """The words are taken however they were typed; name and fingerprint are shown to compare."""
    done = hearth("join", "Amber-river", "stone,", "candle ORBIT", "maple", "--at", "10.0.0.7")
    assert done.code == 0
    assert daemon.asked[-1][2] == {"words": OFFER["words"], "at": "10.0.0.7"}
    assert OFFER["fingerprint"] in done.out
    assert json.loads(hearth("join", OFFER["words"], "--json").out)["community"] == "street"
    assert hearth("join", "a b c d e f").code == 1
    assert hearth("join", "amber", "river").code == 2


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=8), min_size=6, max_size=6), st.data())
def test_words_are_normalised(words: list[str], data: st.DataObject) -> None:
    """Whatever stands between them, and however they are cut into arguments, the same line comes out."""
    between = [data.draw(st.sampled_from([" ", "-", ", ", "  ", ",", " - "])) for _ in words]
    typed = "".join(word.upper() + gap for word, gap in zip(words, between, strict=True))
    assert normalised(typed.split(" ")) == " ".join(words)


def test_the_text_of_a_qr_code_is_left_alone() -> None:
    """A QR code's text is case sensitive and may hold hyphens."""
    assert normalised(["hearth:Ab-C"]) == "hearth:Ab-C"


def test_leave(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """A script cannot be asked, so it must say --yes; where there is nothing to leave, that is said."""
    done = hearth("leave")
    assert (done.code, done.out) == (1, "")
    assert "hint: mean it: hearth leave --yes" in done.err
    assert ("POST", "/api/leave", {}) not in daemon.asked
    assert hearth("leave", "--yes").code == 0
    assert hearth("leave", "--yes", "--json").out == "{}\n"
    assert daemon.asked.count(("POST", "/api/leave", {})) == 2
    daemon.status["community"] = None
    done = hearth("leave")
    assert done.code == 1
    assert done.err.startswith("error: this node is in no community")


def test_rekey(hearth: Hearth, daemon: SimulatedDaemon, tmp_path: Path) -> None:
    """Asked first; then the new id is awaited and shown, with where the old one is and what to do next."""
    done = hearth("rekey")
    assert (done.code, done.out) == (1, "")
    assert "hint: mean it: hearth rekey --yes" in done.err
    assert ("POST", "/api/rekey", {}) not in daemon.asked
    done = hearth("rekey", "--yes")
    assert done.code == 0
    assert f"This node has a new identity, {'n' * 52}.\n" in done.out
    assert f"kept in {tmp_path}/mesh/replaced-1. Join again: hearth pair there, hearth join WORDS here.\n" in done.out
    daemon.status["node_id"] = SPARK_ID
    assert json.loads(hearth("rekey", "--yes", "--json").out) == {
        "node_id": "n" * 52,
        "kept": f"{tmp_path}/mesh/replaced-1",
    }


def test_rekey_of_a_daemon_that_does_not_come_back(
    hearth: Hearth, daemon: SimulatedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done is said, and where to look."""
    monkeypatch.setattr(rekey, "BACK_WITHIN_S", 0.3)
    daemon.status["node_id"] = "n" * 52
    done = hearth("rekey", "--yes")
    assert done.code == 0
    assert "not back yet" in done.err
    assert done.out.startswith("This node has a new identity.\n")


def test_rekey_of_a_founder_warns(daemon: SimulatedDaemon) -> None:
    """Who alone lets nodes in is told what it means to go; no is no."""
    question = rekey._question(parse(Status, daemon.status))
    assert "nobody can be let in any more" in question
    assert "“willow street”" in question
    daemon.status["community"] = None
    assert rekey._question(parse(Status, daemon.status)) == (
        "Give this node a new identity? Models, name and settings stay."
    )


def test_rekey_of_a_board_that_moved(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """The identity stays, and is this board's."""
    assert hearth("rekey", "--moved").out == "This board is the node's own from now on.\n"
    assert hearth("rekey", "--moved", "--json").out == "{}\n"
    assert daemon.asked == [("POST", "/api/board", {})] * 2


def test_models(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """What is here and what can be had; `ls` is the short form."""
    out = hearth("models").out
    assert "stories-42m  c0ffee11  44.1 MB  MIT" in out
    assert "smollm2-135m  98.1 MB  Apache-2.0" in out
    assert hearth("ls").out == hearth("models", "ls").out == out
    assert json.loads(hearth("ls", "--json").out)["catalogue"] == daemon.catalogue
    daemon.status["models"].clear()
    assert "No model is here yet." in hearth("ls").out


def test_models_show(hearth: Hearth) -> None:
    """All about one model; one that is not here is an error."""
    assert "MIT" in hearth("models", "show", "stories-42m").out
    assert json.loads(hearth("models", "show", "stories-42m", "--json").out)["name"] == "stories-42m"
    done = hearth("models", "show", "gone")
    assert done.code == 1
    assert "hint: see what is here" in done.err


@pytest.mark.parametrize("words", [["rm"], ["models", "rm"]])
def test_models_rm(hearth: Hearth, daemon: SimulatedDaemon, words: list[str]) -> None:
    """A removed model is gone."""
    assert hearth(*words, "stories-42m").out == "Removed stories-42m.\n"
    assert daemon.status["models"] == []
    assert hearth(*words, "stories-42m").code == 1


@pytest.mark.parametrize("words", [["pull"], ["models", "pull"]])
def test_pull_in_a_pipe(hearth: Hearth, words: list[str]) -> None:
    """Where nothing can be redrawn, a line a stage and a quarter; the result on stdout."""
    done = hearth(*words, "smollm2-135m")
    assert done.out == "smollm2-135m is here (98.1 MB, Apache-2.0). Try: hearth run smollm2-135m\n"
    lines = done.err.splitlines()
    assert lines[0] == "smollm2-135m  resolve"
    assert lines[2] == "smollm2-135m  download  [########............]   41 %  40.0 MB of 98.1 MB"
    assert "\r" not in done.err


def test_pull_for_programs(hearth: Hearth) -> None:
    """One object a line, the last one the model."""
    done = hearth("pull", "smollm2-135m", "--json")
    steps = [json.loads(line) for line in done.out.splitlines()]
    assert steps[0] == {"stage": "resolve", "done": 0, "total": 0}
    assert steps[-1]["stage"] == "done"
    assert steps[-1]["model"]["digest"] == MODEL["digest"]
    assert done.err == ""


def test_pull_of_an_unknown_model(hearth: Hearth) -> None:
    """The catalogue's refusal, and nothing else."""
    done = hearth("pull", "nope")
    assert done.code == 1
    assert done.out == ""


def test_keys(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """What each is for, when it was last used, what is left of it."""
    lines = hearth("keys").out.splitlines()
    assert lines[0].split() == ["ID", "KEY", "FOR", "USED", "LIMITS"]
    assert "laptop  ask, embed  2 h 5 min ago  1000 tokens a day, 880 left for 23 h 1 min" in lines[1]
    assert "guests  ask         never          6 questions a minute" in lines[2]
    assert hearth("keys", "ls").out.splitlines() == lines
    assert json.loads(hearth("keys", "--json").out) == {"keys": daemon.keys}
    daemon.keys.clear()
    assert "hearth keys add NAME" in hearth("keys").out


def test_a_key_is_made_shown_once_and_revoked(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """The key alone stands on stdout, for a program to take; what to do with it on stderr."""
    made = hearth("keys", "add", "phone", "--scope", "ask, embed", "--per-day", "500")
    assert (made.code, made.out) == (0, f"hk_{'a' * 32}\n")
    assert "Authorization: Bearer" in made.err
    assert daemon.asked[-1][2] == {"name": "phone", "scopes": ["ask", "embed"], "per_minute": 0, "per_day": 500}
    assert json.loads(hearth("keys", "add", "b", "--json").out)["secret"].startswith("hk_")
    assert hearth("keys", "add", "c", "--scope", "root").code == 1
    assert "Revoked phone" in hearth("keys", "rm", "phone").out
    gone = hearth("keys", "rm", "phone")
    assert (gone.code, "hint: see which keys there are" in gone.err) == (1, True)
    assert json.loads(hearth("keys", "rm", "laptop", "--json").out) == {}


def test_guests_are_let_in_and_out(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """The addresses to open, what guests may, and who can read along."""
    assert "hearth guests open" in hearth("guests").out
    opened = hearth("guests", "open")
    assert f"http://192.168.1.20:4327/#k=hk_{'g' * 32}" in opened.out
    assert "Each may ask 6 questions a minute, all together for 50000 tokens a day. 2 phones so far." in opened.out
    assert "not encrypted" in opened.err
    assert hearth("guests", "status").out == opened.out
    limited = json.loads(hearth("guests", "open", "--per-minute", "2", "--per-day", "900", "--json").out)
    assert (limited["per_minute"], limited["per_day"]) == (2, 900)
    assert hearth("guests", "close").out.startswith("Closed")
    daemon.guests = {**GUESTS, "urls": []}
    assert "no address in a network now" in hearth("guests").out
    daemon.guests = {**GUESTS, "urls": ["http://kitchen.local:4327/"], "shows_key": False}
    assert "stays valid" in hearth("guests").out
    daemon.guests["guest_keys"] = 0
    assert "Programs with a key" in hearth("guests").out


def test_the_status_says_who_else_may_ask_and_who_waits(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Only where there is something to say."""
    assert "network" not in hearth("status").out
    daemon.status["guests"] = GUESTS
    daemon.status["queue"] |= {"guest": 3, "owner": 1, "share": 0.4, "reason": "the board is at 76 °C"}
    out = hearth("status").out
    assert "open to 2 phones" in out
    assert "1 yours, 3 of guests" in out
    assert "40% of the time, because the board is at 76 °C" in out


def test_a_question_that_waits_says_its_place(hearth: Hearth) -> None:
    """On stderr, so that the answer stays clean; not at all for programs."""
    done = hearth("ask", "queue up")
    assert done.err.splitlines()[:2] == ["place 3 in the queue", "place 1 in the queue"]
    assert done.out == "The capital of France is Paris.\n"
    assert "place" not in hearth("ask", "queue up", "--json").err

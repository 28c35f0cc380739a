"""The command as a process: exit codes, signals, pipes and terminals."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.core.card import FIELDS, Card, Parent
from tests.sim.daemon import SimulatedDaemon

HEARTH = str(Path(sys.executable).with_name("hearth"))
WITHIN_S = 30.0
HEAVY = ("asyncio", "device.api", "device.client", "httpx", "textual", "rich", "segno", "json", "dataclasses")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[SimulatedDaemon]:
    """A simulated daemon that listens."""
    with SimulatedDaemon(tmp_path, slow_pull=True) as daemon:
        yield daemon


def _hearth(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [HEARTH, *words]
    return subprocess.run(
        command, env=os.environ | (env or {}), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


class Terminal:
    """A process on a terminal of 80x24."""

    def __init__(self, *words: str, env: dict[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        environment = os.environ | {"TERM": "xterm-256color", "NO_COLOR": ""} | (env or {})
        self.process = subprocess.Popen(
            [HEARTH, *words], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self.seen = ""

    def wait_for(self, text: str | None, *, times: int = 1) -> None:
        """Read until `text` was seen so many times, or to the end if it is None."""
        while text is None or self.seen.count(text) < times:
            assert select.select([self._master], [], [], WITHIN_S)[0], f"{text!r} did not come; it said: {self.seen}"
            try:
                data = os.read(self._master, 4096)
            except OSError:  # the other end is closed
                data = b""
            if not data:
                assert text is None, f"{text!r} never came; it said: {self.seen}"
                break
            self.seen += data.decode()

    def type(self, text: str) -> None:
        """Type on its keyboard."""
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Read to the end and give the exit code."""
        self.wait_for(None)
        os.close(self._master)
        return self.process.wait()


def test_help_loads_nothing_heavy() -> None:
    """The grammar is built from argparse alone: what a verb needs is loaded by the verb."""
    code = (
        "import sys; before = set(sys.modules); import device.cli.main as m; m.build_parser(); "
        f"print([name for name in {HEAVY} if name in set(sys.modules) - before])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_help_names_every_verb() -> None:
    """`hearth --help` shows what there is, at 80 columns."""
    done = _hearth("--help", env={"COLUMNS": "80"})
    assert done.returncode == 0
    first = [
        "serve",
        "tui",
        "status",
        "doctor",
        "bench",
        "ask",
        "chat",
        "run",
        "complete",
        "pair",
        "join",
        "leave",
        "rekey",
        "peers",
        "community",
        "propose",
        "vote",
        "log",
        "contributions",
        "record",
        "verify",
    ]
    verbs = [*first, "models", "pull", "ls", "rm"]
    listed = [line.strip() for line in done.stdout.split("VERB\n")[1].splitlines() if line[4:5].strip()]
    assert [line.split()[0] for line in listed[: len(verbs)]] == verbs


@pytest.mark.parametrize("words", [[], ["frobnicate"], ["ask", "--top-k", "many", "hi"], ["peers", "forget"]])
def test_wrong_usage(words: list[str]) -> None:
    """Exit code 2 and the usage on stderr."""
    done = _hearth(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: hearth")


@pytest.mark.parametrize(("words", "meant"), [(["sttus"], "status"), (["peers", "frget", "x"], "forget")])
def test_a_mistyped_verb(words: list[str], meant: str) -> None:
    """The one that was probably meant is named."""
    done = _hearth(*words)
    assert done.returncode == 2
    assert done.stderr.endswith(f"; did you mean {meant}?\n")


def test_version() -> None:
    """`--version` names the program and its version."""
    assert _hearth("--version").stdout.startswith("hearth 0.")


@pytest.mark.parametrize("verb", [["status"], ["ask", "hi"], ["chat"], ["pull", "x"], ["pair", "--json"]])
def test_no_daemon(tmp_path: Path, verb: list[str]) -> None:
    """One clear error with what to do, whatever was asked."""
    done = _hearth("--data", str(tmp_path), *verb)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: Hearthmesh is not running here")
    assert done.stderr.endswith(f"hint: start it: hearth serve --data {tmp_path}\n")


def test_no_daemon_where_none_was_named(tmp_path: Path) -> None:
    """The hint names a data directory only where the command did."""
    done = _hearth("status", env={"HEARTH_DATA": str(tmp_path)})
    assert done.stderr.endswith("hint: start it: hearth serve\n")


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"HEARTH_HTTP_PROT": "1"}, "did you mean HEARTH_HTTP_PORT?"),
        ({"HEARTH_HTTP_PORT": "many"}, "is no whole number"),
        ({"HEARTH_DATA": "/dev/null/hearth"}, "/dev/null"),
    ],
)
def test_serve_says_why_it_cannot(tmp_path: Path, env: dict[str, str], said: str) -> None:
    """What is wrong with the settings or the directory, and what to do; nothing is started."""
    done = _hearth("serve", env={"HEARTH_DATA": str(tmp_path)} | env)
    assert done.returncode == 1
    assert said in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_where_the_data_directory_may_be_named(daemon: SimulatedDaemon, tmp_path: Path) -> None:
    """Before the verb, behind it, or in HEARTH_DATA; the option wins."""
    elsewhere = {"HEARTH_DATA": str(tmp_path / "elsewhere")}
    assert _hearth("--data", str(daemon.data_dir), "status", env=elsewhere).returncode == 0
    assert _hearth("peers", "list", "--data", str(daemon.data_dir), env=elsewhere).returncode == 0
    assert _hearth("status", env={"HEARTH_DATA": str(daemon.data_dir)}).returncode == 0
    assert _hearth("status", env=elsewhere).returncode == 1


def test_a_pipe_that_closes(daemon: SimulatedDaemon) -> None:
    """`hearth ls | head -0` ends without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [HEARTH, "--data", str(daemon.data_dir), "ls"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == 141
    assert done.stderr == ""


def test_a_full_disk(daemon: SimulatedDaemon) -> None:
    """What cannot be written is an error, not a traceback."""
    with Path("/dev/full").open("w") as full:
        command = [HEARTH, "--data", str(daemon.data_dir), "ls"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_control_c_stops_the_answer(daemon: SimulatedDaemon) -> None:
    """The daemon hears that nobody listens any more; the command ends quietly with 130."""
    command = [HEARTH, "--data", str(daemon.data_dir), "ask", "slowly"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(11) == b"The capital"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (130, b"\n", b"")
    assert daemon.abandoned.wait(10)


def test_pull_at_a_terminal(daemon: SimulatedDaemon) -> None:
    """One line redrawn in place, never wider than the terminal, the result below it."""
    terminal = Terminal("--data", str(daemon.data_dir), "pull", "smollm2-135m")
    terminal.wait_for("41 %")
    daemon.release()
    assert terminal.end() == 0
    licence, bar, result = terminal.seen.rstrip().split("\r\n")
    assert "smollm2-135m: 98.1 MB, licence Apache-2.0" in licence
    assert max(map(len, bar.split("\r"))) < 80
    assert result.startswith("smollm2-135m is here")


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "…"), ("ascii", "...")])
def test_a_cut_line_says_so(daemon: SimulatedDaemon, encoding: str, mark: str) -> None:
    """What does not fit the terminal is cut at its edge and marked; what fits is not."""
    daemon.catalogue[0]["description"] = "bread " * 20
    terminal = Terminal("--data", str(daemon.data_dir), "ls", env={"PYTHONIOENCODING": encoding, "NO_COLOR": "1"})
    assert terminal.end() == 0
    lines = terminal.seen.splitlines()
    assert [line.endswith(mark) for line in lines if "bread" in line] == [True]
    assert sum(mark in line for line in lines) == 1
    assert max(map(len, lines)) <= 80


def test_pair_at_a_terminal(daemon: SimulatedDaemon) -> None:
    """A QR code is drawn, narrower than the terminal, and the words stand below it."""
    terminal = Terminal("--data", str(daemon.data_dir), "pair")
    assert terminal.end() == 0
    drawn = [line for line in terminal.seen.splitlines() if "█" in line]
    assert len(drawn) > 10
    assert max(map(len, drawn)) <= 80
    assert terminal.seen.index("hearth join") > terminal.seen.rindex("█")


def test_guests_at_a_terminal(daemon: SimulatedDaemon) -> None:
    """A QR code to scan is drawn, no taller than a phone needs, and the addresses stand below it."""
    terminal = Terminal("--data", str(daemon.data_dir), "guests", "open")
    assert terminal.end() == 0
    drawn = [line for line in terminal.seen.splitlines() if "█" in line]
    assert 10 < len(drawn) <= 22
    assert max(map(len, drawn)) <= 80
    assert terminal.seen.index("http://192.168.1.20:4327/#k=") > terminal.seen.rindex("█")


def test_colour_only_where_it_is_wanted(daemon: SimulatedDaemon) -> None:
    """NO_COLOR is honoured at a terminal."""
    words = ("--data", str(daemon.data_dir), "status")
    coloured, plain = Terminal(*words), Terminal(*words, env={"NO_COLOR": "1"})
    assert coloured.end() == plain.end() == 0
    assert "\x1b[1mkitchen" in coloured.seen
    assert "\x1b" not in plain.seen


def test_chat_at_a_terminal(daemon: SimulatedDaemon) -> None:
    """Commands, an answer stopped with Ctrl-C and an error: the conversation goes on; /bye ends it."""
    terminal = Terminal("--data", str(daemon.data_dir), "chat")
    terminal.wait_for("> ")
    terminal.type("/nonsense\n")
    terminal.wait_for("/node NODE")
    terminal.type("/model m\n/node local\nhello\n")
    terminal.wait_for("with m")
    terminal.type("slowly now\n")
    terminal.wait_for("The capital", times=2)
    os.killpg(terminal.process.pid, signal.SIGINT)
    terminal.wait_for("stopped")
    terminal.type("too long\n")
    terminal.wait_for("the prompt has 3000 tokens")
    terminal.type("/clear\nagain\n/bye\n")
    assert terminal.end() == 0
    questions = [body["messages"] for _, path, body in daemon.asked if path.startswith("/v1")]
    assert [len(messages) for messages in questions] == [1, 3, 3, 1]
    assert daemon.asked[-1][2]["hearthmesh"] == {"node": "local"}


def test_leave_asks_at_a_terminal(daemon: SimulatedDaemon) -> None:
    """Only yes leaves."""
    for answer, code, asked in (("n\n", 1, 0), ("y\n", 0, 1)):
        terminal = Terminal("--data", str(daemon.data_dir), "leave")
        terminal.wait_for("[y/N]")
        terminal.type(answer)
        assert terminal.end() == code
        assert daemon.asked.count(("POST", "/api/leave", {})) == asked


def test_a_card_is_asked_for_at_a_terminal(daemon: SimulatedDaemon) -> None:
    """Enter keeps; what a card cannot hold is asked for again; Ctrl-D changes nothing."""
    command = ("--data", str(daemon.data_dir), "models", "card", "stories-42m", "--edit")
    terminal = Terminal(*command)
    for field, typed in (("name [", "\n"), ("description [", "x\n"), ("licence [", "\x04")):
        terminal.wait_for(field)
        terminal.type(typed)
    assert terminal.end() == 130
    assert [method for method, _, _ in daemon.asked] == ["GET"]
    terminal = Terminal(*command)
    answers = {
        "description": "Tales for children",
        "licence": "not one!",
        "languages": "en",
        "parents": "Tales, merged",
    }
    for field in FIELDS:
        terminal.wait_for(f"  {field} [")
        terminal.type(f"{answers.get(field, '')}\n")
        if field == "licence":
            terminal.wait_for("an SPDX expression")
            terminal.type("apache-2.0\n")
    assert terminal.end() == 0
    card = Card.from_fields(daemon.asked[-1][2])
    assert (card.name, card.description, card.licence) == ("Stories 42M", "Tales for children", "Apache-2.0")
    assert (card.languages, card.bad_at) == (("en",), "facts\nand figures")
    assert card.parents == (Parent(name="Tales", relation="merged"),)


def test_the_tui_needs_a_terminal(tmp_path: Path) -> None:
    """In a pipe it says so instead of filling it with escape codes."""
    done = _hearth("--data", str(tmp_path), "tui")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the TUI needs a terminal")


def test_bytes_that_are_no_text(daemon: SimulatedDaemon) -> None:
    """A question with broken UTF-8 is asked with question marks in their place."""
    command: list[bytes | str] = [HEARTH, "--data", str(daemon.data_dir), "ask", b"bread\xff?"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert daemon.asked[-1][2]["messages"][0]["content"] == "bread??"

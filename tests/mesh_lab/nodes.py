"""Nodes in namespaces, driven by a test: started, asked, paused, killed, and waited for."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from mesh.community import CommunityStore
from mesh.core.entries import Admit
from mesh.core.ledger import Ledger
from mesh.core.membership import OBSERVER
from mesh.identity import Identity
from tests.mesh_lab.net import Namespace

DEADLINE_S: Final = 40.0
READY_WITHIN_S: Final = 30.0
STOPPED_WITHIN_S: Final = 15.0


class NodeFailedError(Exception):
    """A node did not do what it was asked, or did not get where it was waited for; the message holds its log's end."""


@dataclass(frozen=True)
class Note:
    """A numbered note that arrived; times are monotonic seconds."""

    peer: str
    number: int
    sent: float
    at: float


@dataclass(frozen=True, eq=False)
class Telling:
    """Numbered notes on their way from one node to another; no number is used twice between them."""

    sender: "Node"
    receiver: "Node"
    numbers: range
    done: "Future[list[int]]"

    def heard(self, count: int | None = None, *, within_s: float = DEADLINE_S) -> list[Note]:
        """Wait for the first `count` notes, or all; return these as they came, whatever came twice included."""
        wanted = {*self.numbers[:count]}
        peer = self.sender.node_id

        def found() -> list[Note]:
            return [note for note in self.receiver.notes if note.peer == peer and note.number in wanted]

        self.receiver.until(lambda: {note.number for note in found()} == wanted, "told all", within_s=within_s)
        return found()

    def all_heard_once_in_order(self, *, within_s: float = DEADLINE_S) -> bool:
        """Wait until all have been sent and heard; whether each came once and after the one before it."""
        self.done.result(within_s)
        return [note.number for note in self.heard(within_s=within_s)] == [*self.numbers]


class Node:
    """One node in one namespace; `data_dir` outlives its processes."""

    def __init__(
        self,
        namespace: Namespace,
        data_dir: Path,
        *,
        broker: str = "auto",
        static_peers: Sequence[str] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        self.namespace = namespace
        self.data_dir = data_dir
        self.name = data_dir.name
        self.log_path = data_dir.with_name(f"{data_dir.name}.log")
        self.options: dict[str, Any] = {"broker": broker, "static_peers": [*static_peers]}
        self.notes: list[Note] = []
        self.view: dict[str, Any] = {}  # what the node said last of what it sees
        self.view_at = 0.0
        self.council: dict[str, Any] = {}  # what it said last of what is voted on
        self.decided_at: dict[int, float] = {}  # when it said first that so many decisions had been taken
        self.facts: dict[str, Any] = {}  # what it said of itself when it was ready
        self.started_at = 0.0
        self.address = ""  # for tests that dial it
        self.env: dict[str, str] = env or {}  # beside what the tests themselves run in
        self._numbers = itertools.count(1)
        self._told: dict[str, int] = {}  # how many notes each other node was sent
        self._waiting: dict[int, Future[Any]] = {}
        self._news = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def node_id(self) -> str:
        """Its id; made with its directory."""
        return Identity.open(self.data_dir / "mesh" / "identity").node_id

    @property
    def pid(self) -> int:
        """Process id of the node itself."""
        return self._running().pid

    @property
    def broker_pid(self) -> int:
        """Process id of its broker, as it is now."""
        return int(self.ask("ports")["broker_pid"])

    def start(self) -> None:
        """Start the process; `ready` waits for it."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.mesh_lab.node", str(self.data_dir), self.name, json.dumps(self.options)]
        # Without measuring of coverage, which would be measured too.
        env = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")} | self.env
        self.facts, self.view, self.view_at, self.council, self.decided_at = {}, {}, 0.0, {}, {}
        self.started_at = time.monotonic()
        with self.log_path.open("ab") as log, self.namespace.entered():
            self._process = subprocess.Popen(
                command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._reader = threading.Thread(target=self._read, args=(self._process,), name=f"reads {self.name}")
        self._reader.start()

    def ready(self) -> None:
        """Wait until it lives."""
        self.until(lambda: bool(self.facts), "ready", within_s=READY_WITHIN_S)

    def ask(self, verb: str, *, within_s: float = DEADLINE_S, **how: Any) -> Any:  # noqa: ANN401  whatever the verb says
        """Have it do something; return what it said.  Errors: NodeFailedError."""
        return self.asked(verb, **how).result(within_s)

    def asked(self, verb: str, **how: Any) -> "Future[Any]":  # noqa: ANN401  same
        """Have it do something, and go on."""
        number, answer = next(self._numbers), Future[Any]()
        self._waiting[number] = answer
        stdin = self._running().stdin
        if stdin is None:
            raise NodeFailedError(f"{self.name} hears nothing")
        stdin.write(json.dumps({"n": number, "do": verb, **how}) + "\n")
        stdin.flush()
        return answer

    def until(self, condition: Callable[[], bool], what: str, *, within_s: float = DEADLINE_S) -> None:
        """Wait until something is true of what it said; it is looked at on every line.  Errors: NodeFailedError."""
        with self._news:
            if not self._news.wait_for(lambda: condition() or self._ended, within_s) or not condition():
                seen = json.dumps([self.view, self.council])
                raise NodeFailedError(f"{self.name} is not {what}: {seen}\n{self.log()[-3000:]}")

    def leaves(self, state: str, other: "Node", *, within_s: float = DEADLINE_S) -> float:
        """Wait until it sees the other in another state; return when it did."""
        self.until(lambda: bool(self.view) and self.state_of(other) != state, f"past “{state}”", within_s=within_s)
        return self.view_at

    def state_of(self, other: "Node") -> str | None:
        """Tell what it sees of another node: linked, unreachable …; None: not a member."""
        found = self.view.get("neighbours", {}).get(other.node_id)
        return found[0] if found else None

    def linked_to(self, *others: "Node", within_s: float = DEADLINE_S) -> float:
        """Wait for direct links to them; return when the last of them came up."""
        return self.sees("linked", *others, within_s=within_s)

    def sees(self, state: str, *others: "Node", within_s: float = DEADLINE_S) -> float:
        """Wait until it sees them all in a state; return when it did."""
        names = ", ".join(other.name for other in others)
        ids = [other.node_id for other in others]

        def condition() -> bool:
            seen = self.view.get("neighbours", {})
            return all(node_id in seen and seen[node_id][0] == state for node_id in ids)

        self.until(condition, f"at “{names}: {state}”", within_s=within_s)
        return self.view_at

    def reaches(self, *others: "Node", hops: int | None = None, within_s: float = DEADLINE_S) -> float:
        """Wait until it reaches them all, over so many hops if that is given; return when it did."""
        names = ", ".join(other.name for other in others)
        ids = [other.node_id for other in others]

        def condition() -> bool:
            found = [self.view.get("neighbours", {}).get(node_id, ("", 0))[1] for node_id in ids]
            return all(found) if hops is None else all(one == hops for one in found)

        self.until(condition, f"in reach of {names}" + (f" over {hops} hops" if hops else ""), within_s=within_s)
        return self.view_at

    def hears_of(self, motion: str, *, agreed: int = 0, within_s: float = DEADLINE_S) -> None:
        """Wait until a proposal can be decided on here, and so many seats at least vote for it."""

        def condition() -> bool:
            return int(self.council.get("motions", {}).get(motion, -1)) >= agreed

        self.until(condition, f"told of {motion[:8]} and {agreed} votes for it", within_s=within_s)

    def decides(self, decisions: int, *, within_s: float = DEADLINE_S) -> float:
        """Wait until so many decisions have been taken in all; return when it saw the last."""
        self.until(lambda: decisions in self.decided_at, f"at decision {decisions}", within_s=within_s)
        return self.decided_at[decisions]

    def hops_to(self, other: "Node") -> int:
        """Tell over how many hops it reaches another node; 0: not at all."""
        return int(self.view.get("neighbours", {}).get(other.node_id, ("", 0))[1])

    def tells(self, other: "Node", count: int, *, every_s: float = 0.0, size: int = 0) -> Telling:
        """Have it send notes to another node at a steady pace."""
        first = self._told.get(other.node_id, 0)
        self._told[other.node_id] = first + count
        done = self.asked("notes", peer=other.node_id, count=count, every_s=every_s, first=first, size=size)
        return Telling(self, other, range(first, first + count), done)

    def pause(self) -> None:
        """Let the process, but not its broker, do nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it properly: it says goodbye.  Errors: NodeFailedError if it did not end well."""
        code = self._end(signal.SIGTERM)
        if code != 0:
            raise NodeFailedError(f"{self.name} ended with {code}\n{self.log()[-3000:]}")

    def log(self) -> str:
        """What it wrote so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def memory_mb(self) -> float:
        """What the process holds in memory."""
        return memory_mb(self.pid)

    @property
    def alive(self) -> bool:
        """Whether a process of it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise NodeFailedError(f"{self.name} is not running\n{self.log()[-3000:]}")
        return self._process

    def _end(self, how: signal.Signals) -> int:
        process, reader = self._running(), self._reader
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            code = process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if reader is not None:
            reader.join()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # of what it was told last
                    pipe.close()
        self._process = self._reader = None
        return code

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            if line.endswith("\n"):  # else it was killed in the middle of it
                self._take(json.loads(line))
        for number in [*self._waiting]:
            self._waiting.pop(number).set_exception(NodeFailedError(f"{self.name} ended\n{self.log()[-3000:]}"))
        with self._news:
            self._news.notify_all()

    def _take(self, said: dict[str, Any]) -> None:
        match said.pop("event", None):
            case "view":
                self.view_at = said.pop("at")
                self.view = said
            case "council":
                self.decided_at.setdefault(said["decisions"], said.pop("at"))
                self.council = said
            case "note":
                self.notes.append(Note(**said))
            case "ready":
                self.facts = said
            case None if "error" in said:
                self._waiting.pop(said["n"]).set_exception(NodeFailedError(f"{self.name}: {said['error']}"))
            case None:
                self._waiting.pop(said["n"]).set_result(said["said"])
        with self._news:
            self._news.notify_all()


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def ended(pid: int, *, within_s: float) -> bool:
    """Wait for the end of a process that is no child of the tests; whether it came."""
    deadline = time.monotonic() + within_s
    stat = Path(f"/proc/{pid}/stat")
    while time.monotonic() < deadline:
        try:
            if stat.read_text().rsplit(")", 1)[1].split()[0] in "ZX":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def cpu_s(pid: int) -> float:
    """What a process has used of a core so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Settled(Protocol):
    """Something that is to be a member: a node of the lab, or a whole hearth."""

    data_dir: Path
    name: str


def settle(*nodes: Settled) -> None:
    """Make nodes that do not run yet one community, the first its founder, as if each had been paired with it."""
    founder, *others = nodes
    identities = {node.name: Identity.open(node.data_dir / "mesh" / "identity") for node in nodes}
    with _store(founder, identities[founder.name]) as store:
        store.found(founder.name, founder.name)
        for other in others:
            store.sign(Admit(identities[other.name].statement, other.name, OBSERVER))
        ledger = store.ledger
        entries, keys = ledger.entries if ledger is not None else (), store.keys.keys
    for other in others:
        with _store(other, identities[other.name]) as theirs:
            theirs.enter(Ledger.of(entries), keys)


def start_all(*nodes: Node) -> None:
    """Start nodes side by side and wait for all of them."""
    for node in nodes:
        node.start()
    for node in nodes:
        node.ready()


def all_linked(*nodes: Node, within_s: float = DEADLINE_S) -> float:
    """Wait until each has a direct link to each; return when the last one came up."""
    return max(node.linked_to(*(other for other in nodes if other is not node), within_s=within_s) for node in nodes)


@contextlib.contextmanager
def living(*nodes: Node) -> Iterator[None]:
    """End nodes, whatever state they are in, when the block does."""
    try:
        yield
    finally:
        for node in nodes:
            if node._process is not None:
                node.kill()


@contextlib.contextmanager
def _store(node: Settled, identity: Identity) -> Iterator[CommunityStore]:
    store = CommunityStore(node.data_dir / "mesh" / "community.db", identity)
    try:
        yield store
    finally:
        store.close()

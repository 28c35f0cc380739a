"""A `hearth serve` process with its own data directory, driven through the `hearth` command."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

COMMAND = Path(sys.executable).with_name("hearth")
READY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 20.0
LINKED_WITHIN_S = 60.0


class HearthFailedError(Exception):
    """A hearth did not start, or a command of it failed; the message holds what it said."""


class Hearth:
    """One node on loopback: free ports, discovery on `lo` alone, everything in `data_dir`."""

    def __init__(self, data_dir: Path, *, name: str, env: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.name = name
        self.log_path = data_dir.with_name(f"{data_dir.name}.log")
        self._env = {
            **os.environ,
            "HEARTH_NODE_NAME": name,
            "HEARTH_HTTP_PORT": "0",
            "HEARTH_MQTT_PORT": "0",
            "HEARTH_DOOR_PORT": "0",
            "HEARTH_DISCOVERY_INTERFACES": "lo",
            **(env or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._supervised = contextlib.ExitStack()  # the socket the daemon reports to, for as long as it runs

    @property
    def pid(self) -> int:
        """Process id of the running daemon."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether it was started and neither stopped nor killed."""
        return self._process is not None

    def start(self) -> Self:
        """Start the daemon and return once it has told its supervisor, as systemd would hear it, that it is ready."""
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        address, told = self._supervised.enter_context(_notify_socket(self.data_dir))
        with self.log_path.open("ab") as log:
            command = [str(COMMAND), "--data", str(self.data_dir), "serve"]
            env = {**self._env, "NOTIFY_SOCKET": address}
            self._process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if not _told_ready(told, self._process):
            self.stop(check=False)
            raise HearthFailedError(f"{self.name} did not become ready:\n{self.log()}")
        return self

    def command(self, *words: str) -> list[str]:
        """The words of `hearth WORDS…` against this daemon."""
        return [str(COMMAND), "--data", str(self.data_dir), *words]

    def run(self, *words: str, timeout_s: float = 300.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a `hearth` command to its end; HearthFailedError if `check` and it did not exit 0."""
        done = subprocess.run(
            self.command(*words), env=self._env, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check and done.returncode != 0:
            raise HearthFailedError(f"hearth {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *words: str, timeout_s: float = 300.0) -> Any:  # noqa: ANN401  whatever the command prints
        """Run a `hearth … --json` command and parse the one object it prints."""
        return json.loads(self.run(*words, "--json", timeout_s=timeout_s).stdout)

    def show(self, *words: str) -> None:
        """Run a `hearth` command whose output goes straight to the person watching."""
        code = subprocess.run(self.command(*words), env=self._env, check=False).returncode
        if code != 0:
            raise HearthFailedError(f"hearth {' '.join(words)}: exit {code}\n{self.log()}")

    def kill(self) -> None:
        """End the daemon as a power cut would."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None
        self._supervised.close()

    def stop(self, *, check: bool = True) -> None:
        """Ask the daemon to stop and wait; HearthFailedError if it must be killed or exits non-zero."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        self._supervised.close()
        if check and code != 0:
            raise HearthFailedError(f"{self.name} ended with {code}:\n{self.log()}")

    def log(self) -> str:
        """What the daemon wrote so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.stop(check=error is None)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise HearthFailedError(f"{self.name} is not running")
        return self._process

    def wait_for(self, *names: str, model: str = "") -> None:
        """Return once these nodes are in reach and have told that they hold the model, if one is named."""
        give_up_at = time.monotonic() + LINKED_WITHIN_S
        while time.monotonic() < give_up_at:
            near = [one for one in self.json("status")["neighbours"] if one["hops"]]
            if model:
                near = [one for one in near if any(held["name"] == model for held in one["models"])]
            if {one["name"] for one in near} >= set(names):
                return
        raise HearthFailedError(f"{self.name} does not see {names} with {model}:\n{self.log()}")


@contextlib.contextmanager
def street(folder: Path, model: str) -> Iterator[dict[str, Hearth]]:
    """Three members of one community by name: `spark`, and two in its reach that hold the model."""
    with contextlib.ExitStack() as stack:
        ember, attic, spark = (
            stack.enter_context(Hearth(folder / name, name=name)) for name in ("ember", "attic", "spark")
        )
        for holder in (ember, attic):
            holder.run("models", "pull", model)
        for other in (attic, spark):
            other.run("join", *ember.json("pair")["words"].split())
        spark.wait_for("ember", "attic", model=model)
        yield {hearth.name: hearth for hearth in (ember, attic, spark)}


@contextlib.contextmanager
def _notify_socket(data_dir: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket as systemd gives one to a service of type notify; abstract, so that a path's length never matters."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        name = f"hearth-notify-{os.getpid()}-{data_dir.parent.name}-{data_dir.name}"
        told.bind(f"\0{name}")
        yield f"@{name}", told


def _told_ready(told: socket.socket, process: subprocess.Popen[bytes]) -> bool:
    """Wait for READY=1; False when the process ends first or the time is up."""
    ended = os.pidfd_open(process.pid)
    try:
        while True:
            readable, _, _ = select.select([told.fileno(), ended], [], [], READY_WITHIN_S)
            if told.fileno() in readable:
                if b"READY=1" in told.recv(4096).split(b"\n"):
                    return True
            elif ended in readable or not readable:
                return False
    finally:
        os.close(ended)

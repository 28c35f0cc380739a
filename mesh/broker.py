"""The node's own MQTT broker: started, watched, restarted, and told who may connect.

mosquitto when it is installed, else amqtt; either is a child process that dies with the node.
"""

import asyncio
import json
import logging
import os
import shutil
import signal
import ssl
import sys
import time
from collections import Counter, deque
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from mesh import mosquitto, ports
from mesh.certificates import BrokerAuthority, TlsKey, client_context, write_private
from mesh.core.topic_policy import NEIGHBOUR_ROLES, CommonName, Role, clients
from mesh.dialling import dial
from mesh.errors import BrokerFailedError, CertificateError, PortInUseError, StorageError
from mesh.mqtt import MqttClient

log = logging.getLogger(__name__)

Kind = Literal["mosquitto", "amqtt"]
PORT_KEY = "[mqtt] port"

START_S = 10.0  # a Pi Zero takes a few for the built-in broker
PROBE_S = 2.0
PROBE_EVERY_S = 0.01
STOP_S = 3.0
KICK_S = 3.0
KICK_EVERY_S = 1.0  # a removed neighbour that comes back is thrown out again this often, not faster
BACKOFF_FIRST_S = 0.25
BACKOFF_MAX_S = 30.0
STABLE_AFTER_S = 60.0
HARMLESS = "should not be run as root"  # in a container there may be nobody else
LOG_LINES = 20  # forwarded in each LOG_WINDOW_S; the rest is counted
LOG_WINDOW_S = 10.0
LINE_BYTES = 500
PORT_TRIES = 5
KEEPING_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "8388608", "MALLOC_MMAP_THRESHOLD_": "2097152"}
"""For glibc: a few megabytes of freed memory stay, or every large message costs its pages anew."""


class Broker:
    """Supervises the broker process.

    kind "auto" prefers mosquitto; port 0 takes a free one, kept over restarts; bind_address None means every address.
    """

    def __init__(
        self,
        *,
        owner_id: str,
        directory: Path,
        authority: BrokerAuthority,
        kind: Literal["auto", "mosquitto", "amqtt"] = "auto",
        port: int = 8883,
        bind_address: str | None = None,
    ) -> None:
        self._owner_id = owner_id
        self._authority = authority
        self._program = mosquitto.find_mosquitto() if kind != "amqtt" else None
        if kind == "mosquitto" and self._program is None:
            raise BrokerFailedError("[mqtt] broker is mosquitto, but mosquitto is not installed")
        self.kind: Kind = "mosquitto" if self._program else "amqtt"
        self._configured_port = port
        self._port = port
        self._bind_address = bind_address
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._files = mosquitto.BrokerFiles(
            directory=directory,
            ca=authority.ca_path,
            certificate=authority.server_certificate_path,
            key=authority.server_key_path,
        )
        self._peers: frozenset[str] = frozenset()
        self._written: frozenset[str] | None = None  # what stands in the policy's file
        self._loaded: frozenset[str] = frozenset()  # what the running process has read
        self._process: asyncio.subprocess.Process | None = None
        self._running = False
        self._uninvited: Counter[str] = Counter()  # connections to end, by common name
        self._intruded = asyncio.Event()
        self._lines: deque[str] = deque(maxlen=5)
        self._log = _BoundedLog()

    @property
    def port(self) -> int:
        """The port it listens on; settled once `run` has set ready."""
        return self._port

    @property
    def address(self) -> str:
        """The address the owner dials."""
        return self._bind_address or "127.0.0.1"

    @property
    def pid(self) -> int | None:
        """The process id of the running broker."""
        return self._process.pid if self._process and self._running else None

    async def run(self, ready: asyncio.Event) -> None:
        """Keep a broker running until cancelled; set `ready` when it listens.

        Raises PortInUseError or BrokerFailedError if the first start fails; later failures are retried with back-off.
        """
        watch = asyncio.create_task(self._throw_out_intruders(), name="broker intruders")
        backoff = BACKOFF_FIRST_S
        try:
            while True:
                started = time.monotonic()
                try:
                    await self._live_once(ready)
                except (BrokerFailedError, StorageError) as error:
                    if not ready.is_set():
                        raise
                    log.error("%s", error)  # noqa: TRY400  a message for people; the cause is in it
                except PortInUseError:
                    if not ready.is_set():
                        raise
                    log.error("port %d was taken while the broker was down", self._port)  # noqa: TRY400  same
                if time.monotonic() - started > STABLE_AFTER_S:
                    backoff = BACKOFF_FIRST_S
                log.warning("the broker ended; it is started again in %.2g s", backoff)
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, BACKOFF_MAX_S)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def set_peers(self, ids: Collection[str]) -> None:
        """Let exactly these neighbours in; who is no longer among them may publish nothing more and is thrown out.

        Raises StorageError when that cannot be written down: call it again.
        """
        before, self._peers = self._peers, frozenset(ids)
        if self._written == self._peers:
            return
        removed = (before | (self._written or frozenset())) - self._peers
        for peer_id in self._peers - before:
            for role in NEIGHBOUR_ROLES:
                self._uninvited.pop(str(CommonName(peer_id, role)), None)
        try:
            self._write_policy()
            self._reload()
        finally:  # on a full disk too: who comes back is thrown out again
            for peer_id in removed:
                await self.kick(peer_id)

    async def kick(self, peer_id: str) -> None:
        """Close a neighbour's connections by taking its client ids; it may come back if it is still let in."""
        names = [CommonName(peer_id, role) for role in NEIGHBOUR_ROLES]
        if peer_id in self._peers or (self.kind == "amqtt" and self._written != self._peers):
            await asyncio.gather(*(self._take_over(name) for name in names))
        else:
            for name in names:
                self._throw_out(name)

    async def _live_once(self, ready: asyncio.Event) -> None:
        """Start the process and stay with it until it ends.

        A free port that was chosen may be another program's before the broker has it: then another is chosen.
        """
        choosing = self._configured_port == 0 and not ready.is_set()
        for tries_left in reversed(range(PORT_TRIES if choosing else 1)):
            try:
                await self._live(ready)
            except PortInUseError:
                if not tries_left:
                    raise
            else:
                return

    async def _live(self, ready: asyncio.Event) -> None:
        process = await self._start(first=not ready.is_set())
        reader = asyncio.create_task(self._read_log(process), name="broker log")
        try:
            await self._wait_until_listening(process, reader)
            self._running = True
            if self._loaded != self._peers:
                self._reload()
            ready.set()
            await reader
            await process.wait()
        finally:
            self._running = False
            self._uninvited.clear()
            await _end(process)
            await reader
            self._process = None

    async def _start(self, *, first: bool) -> asyncio.subprocess.Process:
        if self._configured_port == 0 and first:
            self._port = ports.free_port(self._bind_address)
        ports.check_port(self._port, self._bind_address, key=PORT_KEY)
        self._write_policy()
        self._loaded = self._peers
        self._lines.clear()
        # The kernel ends the child when the node dies in any way, so that no orphan keeps the port.
        launcher = [setpriv, "--pdeathsig", "KILL", "--"] if (setpriv := shutil.which("setpriv")) else []
        try:
            self._process = await asyncio.create_subprocess_exec(
                *launcher,
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=os.environ | KEEPING_MEMORY,
                start_new_session=True,  # Ctrl-C at the terminal is the node's to handle, not the broker's
            )
        except OSError as error:
            raise BrokerFailedError(f"{self.kind} cannot be started: {error}") from error
        return self._process

    def _command(self) -> list[str]:
        directory = self._files.directory
        if self._program is None:
            settings = {
                "port": self._port,
                "bind_address": self._bind_address,
                "ca": str(self._files.ca),
                "certificate": str(self._files.certificate),
                "key": str(self._files.key),
                "policy": str(self._policy_path),
            }
            _write(directory / "amqtt.json", json.dumps(settings).encode())
            return [sys.executable, "-P", "-m", "mesh.amqtt_broker", str(directory / "amqtt.json")]
        text = mosquitto.configuration(
            files=self._files, access_list=self._policy_path, port=self._port, bind_address=self._bind_address
        )
        _write(directory / "mosquitto.conf", text.encode())
        return [self._program, "-c", str(directory / "mosquitto.conf")]

    @property
    def _policy_path(self) -> Path:
        return self._files.directory / ("access.list" if self._program else "clients")

    def _write_policy(self) -> None:
        allowed = clients(self._owner_id, self._peers)
        text = mosquitto.access_list(allowed) if self._program else "".join(f"{name}\n" for name in allowed)
        _write(self._policy_path, text.encode())
        self._written = self._peers

    def _reload(self) -> None:
        if self._process is not None and self._running:
            self._loaded = self._peers
            self._process.send_signal(signal.SIGHUP)

    async def _wait_until_listening(self, process: asyncio.subprocess.Process, reader: asyncio.Task[None]) -> None:
        """Return once it takes part in a TLS handshake; mosquitto listens before it has read its certificates."""
        tls = self._context(CommonName(self._owner_id, Role.OWNER))
        deadline = time.monotonic() + START_S
        while True:
            if reader.done():  # its stderr is closed: it ended
                code = await process.wait()
                said = " | ".join(self._lines) or "nothing"
                if "address already in use" in said.lower():
                    raise ports.port_in_use(self._port, key=PORT_KEY)
                raise BrokerFailedError(f"{self.kind} ended with code {code} at its start; it said: {said}")
            try:
                async with asyncio.timeout(PROBE_S):
                    (await dial(self.address, self._port, tls=tls)).close()
            except (OSError, TimeoutError):
                if time.monotonic() > deadline:
                    raise BrokerFailedError(
                        f"{self.kind} does not answer on port {self._port} after {START_S:.0f} s"
                    ) from None
                await asyncio.sleep(PROBE_EVERY_S)
            else:
                return

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        stream = process.stderr
        if stream is None:  # it was asked for
            return
        rest = b""
        while chunk := await stream.read(4096):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[:LINE_BYTES]
            for raw in lines:
                line = "".join(c if c.isprintable() else "?" for c in raw[:LINE_BYTES].decode(errors="replace"))
                self._lines.append(line)
                self._log.write(self.kind, line)
                self._notice_intruder(line)

    def _notice_intruder(self, line: str) -> None:
        """See who connects: mosquitto lets in everyone with a certificate, also one that was removed since."""
        name = CommonName.parse(mosquitto.connected_client(line) or "")
        if name is not None and name.node_id not in self._peers and name.node_id != self._owner_id:
            self._throw_out(name)

    def _throw_out(self, name: CommonName) -> None:
        if self.kind == "mosquitto":  # the amqtt child knows who may connect and closes by itself
            self._uninvited[str(name)] += 1
            self._intruded.set()

    async def _throw_out_intruders(self) -> None:
        while True:
            await self._intruded.wait()
            self._intruded.clear()
            names = [name for text, count in self._uninvited.items() if count > 0 and (name := CommonName.parse(text))]
            taken = await asyncio.gather(*(self._take_over(name) for name in names))
            for name, done in zip(names, taken, strict=True):
                if done:  # theirs is gone; ours was, or will be, counted by its own line in the log
                    self._uninvited[str(name)] -= 2
            await asyncio.sleep(KICK_EVERY_S)
            if any(count > 0 for count in self._uninvited.values()):
                self._intruded.set()

    def _context(self, name: CommonName) -> ssl.SSLContext:
        key = TlsKey.make()
        certificate = self._authority.sign(key.public_bytes, name)
        return client_context(ca_pem=self._authority.ca_pem, certificate_pem=certificate, key=key)

    async def _take_over(self, name: CommonName) -> bool:
        """Connect with someone's client id, which ends their connection, and leave; return whether that worked."""
        if not self._running:
            return False
        connected = asyncio.Event()
        try:
            context = self._context(name)
        except CertificateError as error:  # no descriptor is left, say; it is tried again
            log.warning("%s could not be thrown out yet: %s", name, error)
            return False
        client = MqttClient(
            self.address,
            port=self._port,
            tls=context,
            client_id=str(name),
            on_state=lambda _up: connected.set(),
        )
        running = asyncio.create_task(client.run(), name="broker kick")
        try:
            async with asyncio.timeout(KICK_S):
                await connected.wait()
        except TimeoutError:
            log.debug("the broker let nobody in as %s", name)
        finally:
            client.close()
            await running
        return connected.is_set()


def _write(path: Path, content: bytes) -> None:
    """Write a file of the broker's.  Raises StorageError."""
    try:
        write_private(path, content)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


class _BoundedLog:
    """Passes on what a broker says, so many lines in a window: strangers must not fill the disk."""

    def __init__(self) -> None:
        self._window_began = time.monotonic()
        self._count = 0

    def write(self, kind: Kind, line: str) -> None:
        now = time.monotonic()
        if now - self._window_began > LOG_WINDOW_S:
            if self._count > LOG_LINES:
                log.warning("%s: %d more lines", kind, self._count - LOG_LINES)
            self._window_began, self._count = now, 0
        self._count += 1
        if self._count <= LOG_LINES:
            loud = line.startswith(("Error", "Warning")) and HARMLESS not in line
            level = logging.WARNING if loud else logging.DEBUG
            log.log(level, "%s: %s", kind, line)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the process to stop; after a while, make it."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

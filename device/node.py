"""The composition root: one node, put together from mesh, models and HTTP, in one task group."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from device.administration import Administration
from device.api import HttpAddress, HttpsAddress
from device.config import HearthConfig
from device.contributions.exchange import Contributions
from device.core.admission import Bounds
from device.core.contribution_accounts import Pace
from device.data_directory import DataDirectory, bind_unix_socket, unusable
from device.equipment import contributions_of, library_of, offering_of, sharing_of
from device.errands import Errands
from device.errors import DeviceError, NodeFailedError, PortInUseError
from device.guests import Guests
from device.http.app import Apps, build_apps
from device.http.lan import LanServer, Port
from device.http.server import HttpServer
from device.keyring import FILE_NAME as KEYS_NAME
from device.keyring import KeyRing
from device.library import Library
from device.logs import configure_logs
from device.notify import ServiceNotifier
from device.queries import Queries
from device.record.log import RecordLog
from device.record.publishing import Publishing
from device.record.reading import Readings
from device.sharing.sharing import Sharing
from mesh.certificates import PageCertificate
from mesh.core.host_names import DOMAIN, host_label
from mesh.errors import MeshError
from mesh.interfaces import Interface, survey
from mesh.node import MeshConfig, MeshNode
from models.errors import ModelsError

HOST: Final = "127.0.0.1"
GRACE_S: Final = 5.0  # for running answers; the service manager waits 20 s
CLOSING_S: Final = 4.0  # then, until connections are cut

log = logging.getLogger(__name__)


def serve(config: HearthConfig) -> int:
    """Run a node until SIGTERM or SIGINT; return the exit code.  A second signal ends it without grace.

    Raises DeviceError when it cannot start or go on.
    """
    configure_logs(config.log.level, config.log.format)
    try:
        asyncio.run(_serve(config))
    except (MeshError, ModelsError) as error:
        raise NodeFailedError(str(error), hint=error.hint) from error
    return 0


async def _serve(config: HearthConfig) -> None:
    notifier = ServiceNotifier(os.environ)  # before any child is started
    while await _live(HearthNode(config, notifier=notifier)):
        log.info("starting again")


async def _live(node: "HearthNode") -> bool:
    """Run a node to its end; return whether another life was asked for."""
    running = asyncio.create_task(node.run(asyncio.Event()), name="node")
    loop = asyncio.get_running_loop()

    def signalled() -> None:
        if node.stopping:
            running.cancel()
        node.restarting = False
        node.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    with contextlib.suppress(asyncio.CancelledError):
        await running
        return node.restarting
    return False


class HearthNode:
    """One node; `run` is its life, `stop` asks for its end, which running answers get `grace_s` for."""

    def __init__(
        self,
        config: HearthConfig,
        *,
        grace_s: float = GRACE_S,
        notifier: ServiceNotifier | None = None,
        networks: Callable[[], tuple[Interface, ...]] = survey,
        contributions: Pace | None = None,
    ) -> None:
        """networks: where guests are listened for, of those that the configuration names.

        contributions: how often they are written down, where that is another pace than the usual one.
        """
        self.config = config
        self._contributions = contributions
        self.restarting = False
        """Whether it ends in order to begin anew, with what has been laid ready for the next start."""
        self._notifier = notifier or ServiceNotifier(os.environ)
        self._grace_s = grace_s
        self.lan = LanServer(interfaces=config.discovery.interfaces, grace_s=grace_s + CLOSING_S, look=networks)
        """The door to the LAN."""
        self._stop = asyncio.Event()
        self._administration: Administration | None = None

    @property
    def stopping(self) -> bool:
        """Whether the end has been asked for."""
        return self._stop.is_set()

    @property
    def administration(self) -> Administration:
        """What the owner sees and does; there from the moment the node is ready."""
        if self._administration is None:
            raise NodeFailedError("the node is not ready yet", hint="wait for it")
        return self._administration

    def stop(self) -> None:
        """Ask for a graceful end: running answers get their grace, neighbours a goodbye."""
        self._stop.set()

    def restart(self) -> None:
        """Ask for a graceful end and a new beginning, unless the end has been asked for already."""
        if not self.stopping:
            self.restarting = True
            self.stop()

    async def run(self, ready: asyncio.Event) -> None:
        """Start everything, set `ready`, go on until `stop`; cancelling ends it without grace.

        Raises DeviceError, MeshError or ModelsError when something cannot start or go on.
        """
        started_at = time.monotonic()
        with DataDirectory(self.config.data_dir) as directory, _open_doors(self.config) as doors:
            # What may refuse to start does so before anything runs that must be stopped again.
            parts = self._build(doors, started_at)
            try:
                async with asyncio.TaskGroup() as tasks:
                    mesh_ready = asyncio.Event()
                    mesh_task = tasks.create_task(parts.mesh.run(mesh_ready), name="mesh")
                    await mesh_ready.wait()
                    self._administration = parts.administration
                    directory.write_run_file(self._facts())
                    keyring_task = tasks.create_task(parts.keyring.run(), name="keyring")
                    async with parts.errands.open():
                        parts.queries.start()
                        sharing_task = tasks.create_task(parts.sharing.run(), name="sharing")
                        giving_task = tasks.create_task(parts.contributions.run(), name="contributions")
                        lan_task = tasks.create_task(self.lan.run(parts.apps.lan, *parts.lan_ports), name="lan")
                        parts.administration.guests.start()
                        await self._serve(parts, ready)
                        await asyncio.wait((lan_task,))
                        sharing_task.cancel()
                        giving_task.cancel()
                    mesh_task.cancel()
                    keyring_task.cancel()
            except ExceptionGroup as group:
                raise _cause(group) from group
            finally:
                await parts.library.aclose()
                await parts.keyring.aclose()
                await parts.contributions.aclose()
        log.info("stopped")

    def _build(self, doors: "_Doors", started_at: float) -> "_Parts":
        """Make everything and join it; nothing runs yet."""
        config, errands = self.config, Errands()
        library = library_of(config, errands)
        mesh = MeshNode(_mesh_config(config))
        keyring = KeyRing(config.data_dir / KEYS_NAME)
        contributions = contributions_of(config, mesh, self._contributions)
        queries = Queries(
            mesh=mesh,
            library=library,
            errands=errands,
            default_model=config.models.default,
            meter=keyring.meter,
            offering=offering_of(config),
            waiting=Bounds.of_queue(config.queue.waiting),
            counts=contributions,
        )
        sharing = sharing_of(config, mesh=mesh, library=library, queries=queries, errands=errands, counts=contributions)
        readings = Readings(mesh.record)

        def models_changed() -> None:
            queries.models_changed()
            sharing.models_changed()

        library.on_change = models_changed
        keyring.on_revoked = queries.revoked
        port, certificate = doors.public.getsockname()[1], _certificate(config)
        https = HttpsAddress(port=doors.https_port, fingerprint=certificate.fingerprint) if certificate else None
        administration = Administration(
            mesh=mesh,
            queries=queries,
            library=library,
            log=RecordLog(mesh.record, readings, on_change=mesh.on_change),
            publishing=Publishing(library=library, releases=sharing.releases, record=mesh.record, readings=readings),
            readings=readings,
            guests=Guests(keyring, self.lan, mesh=mesh, port=port, always_open=config.http.lan, https=https),
            http=HttpAddress(host=HOST, port=port),
            https=https,
            version=version("hearthmesh"),
            started_at=started_at,
            restart=self.restart,
        )
        apps = build_apps(queries, administration, keyring)
        return _Parts(
            errands=errands,
            library=library,
            mesh=mesh,
            keyring=keyring,
            queries=queries,
            sharing=sharing,
            contributions=contributions,
            administration=administration,
            apps=apps,
            servers=tuple(
                HttpServer(app, at, grace_s=self._grace_s + CLOSING_S)
                for app, at in ((apps.loopback, doors.public), (apps.owner, doors.owner))
            ),
            lan_ports=(Port(port), *([Port(doors.https_port, certificate.context)] if certificate else ())),
        )

    async def _serve(self, parts: "_Parts", ready: asyncio.Event) -> None:
        """Answer until `stop`, then let running answers end."""
        notifier = self._notifier
        async with asyncio.TaskGroup() as tasks:
            serving = [tasks.create_task(server.run(), name="http") for server in parts.servers]
            watchdog = tasks.create_task(notifier.watch(), name="watchdog")
            notifier.ready()
            log.info("ready", extra=self._facts())
            ready.set()
            await self._stop.wait()
            if not self.restarting:
                notifier.stopping()
            log.info("stopping")
            parts.sharing.stopping = True
            parts.administration.log.stop()
            for server in parts.servers:
                server.stop()
            self.lan.stop()
            await parts.queries.stop(grace_s=self._grace_s)
            await asyncio.wait(serving)
            watchdog.cancel()

    def _facts(self) -> dict[str, object]:
        """Where this run is to be found."""
        mesh = self.administration.mesh
        return {
            "pid": os.getpid(),
            "node_id": mesh.node_id,
            "http_port": self.administration.http.port,
            "mqtt_port": mesh.mqtt_port,
            "door_port": mesh.door_port,
            "socket": str(self.config.socket_path),
        }


@dataclass(frozen=True, kw_only=True)
class _Doors:
    """The sockets of one life.  https_port: held for the LAN, 0 where HTTPS is not wanted."""

    public: socket.socket
    owner: socket.socket
    https_port: int


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """Everything that one life of a node is made of."""

    errands: Errands
    library: Library
    mesh: MeshNode
    keyring: KeyRing
    queries: Queries
    sharing: Sharing
    contributions: Contributions
    administration: Administration
    apps: Apps
    servers: tuple[HttpServer, ...]
    lan_ports: tuple[Port, ...]


@contextlib.contextmanager
def _open_doors(config: HearthConfig) -> Iterator[_Doors]:
    """Bind what this node listens on by itself.  Raises PortInUseError, DeviceError."""
    with (
        _loopback_listener(config.http.port) as public,
        _https_port(config) as https_port,
        _owner_listener(config) as owner,
    ):
        yield _Doors(public=public, owner=owner, https_port=https_port)


@contextlib.contextmanager
def _loopback_listener(port: int) -> Iterator[socket.socket]:
    """Listen on a loopback port, 0 = any free one.  Raises PortInUseError, NodeFailedError."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with _naming(port, "http.port"):
            listener.bind((HOST, port))
            listener.listen(128)
        yield listener


@contextlib.contextmanager
def _https_port(config: HearthConfig) -> Iterator[int]:
    """Hold the port of HTTPS on loopback, where nobody listens: another program that has it is noticed at the start.

    Yields its number, 0 where HTTPS is not wanted.  Raises PortInUseError, NodeFailedError.
    """
    if not config.http.https:
        yield 0
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
        with _naming(config.http.https_port, "http.https_port"):
            holder.bind((HOST, config.http.https_port))
        yield holder.getsockname()[1]


@contextlib.contextmanager
def _naming(port: int, key: str) -> Iterator[None]:
    """Say which port cannot be listened on, and which key sets it."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(port, key) from error
        message = f"cannot listen on {HOST} port {port} ({key}): {error.strerror}"
        raise NodeFailedError(message, hint=f"set {key} in hearth.toml to a port above 1023") from error


def _certificate(config: HearthConfig) -> PageCertificate | None:
    """Give the certificate for HTTPS, where that is wanted.  Raises DataDirectoryError, PageCertificateError.

    It lies with the identity: a board that gets another one gets another certificate too.
    """
    if not config.http.https:
        return None
    path = config.data_dir / "mesh" / "https.pem"
    try:
        return PageCertificate.open(path, host=f"{host_label(config.node.name)}.{DOMAIN}")
    except OSError as error:
        raise unusable(path.parent, error) from error


@contextlib.contextmanager
def _owner_listener(config: HearthConfig) -> Iterator[socket.socket]:
    """Listen on the owner's socket, which is gone afterwards."""
    with bind_unix_socket(config.socket_path, mode=config.socket_mode) as listener:
        try:
            yield listener
        finally:
            with contextlib.suppress(OSError):
                config.socket_path.unlink()


def _mesh_config(config: HearthConfig) -> MeshConfig:
    return MeshConfig(
        data_dir=config.data_dir,
        name=config.node.name,
        interfaces=config.discovery.interfaces,
        mqtt_port=config.mqtt.port,
        door_port=config.door.port,
        broker=config.mqtt.broker,
        static_peers=config.discovery.peers,
    )


def _cause(group: ExceptionGroup[Exception]) -> Exception:
    """The error a person can do something about; else the first of what went wrong together."""
    leaves = [_cause(error) if isinstance(error, ExceptionGroup) else error for error in group.exceptions]
    return next((error for error in leaves if isinstance(error, DeviceError | MeshError | ModelsError)), leaves[0])

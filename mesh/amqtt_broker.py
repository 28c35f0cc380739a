"""The built-in broker: amqtt in a process of its own, for nodes without mosquitto.

`python -m mesh.amqtt_broker SETTINGS.json`.  SIGHUP reads the list of clients again; logs go to stderr, a line each,
the severity in front as mosquitto writes it.
"""

import asyncio
import contextlib
import errno
import json
import logging
import signal
import socket
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amqtt.adapters import StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action, BaseContext, BrokerConfig, ListenerConfig, ListenerType
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from mesh.core import topic_policy
from mesh.core.topic_policy import CommonName
from mesh.mqtt_gate import Gate, GatedConnection, server_context

LISTENER = "default"
MAX_PENDING = 16  # messages between the clients and the owner's acknowledgement
ACTIONS = {
    Action.PUBLISH: topic_policy.Action.WRITE,
    Action.SUBSCRIBE: topic_policy.Action.READ,
    Action.RECEIVE: topic_policy.Action.READ,
}


class TopicPolicy(BaseAuthPlugin, BaseTopicPlugin):  # type: ignore[misc]  # amqtt is not checked
    """Asks the one topic policy; who a client is, the gate has made sure of."""

    @dataclass
    class Config:
        """What amqtt hands to the plugin."""

        gate: Gate

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self._gate: Gate = self.config.gate

    async def authenticate(self, *, session: Session) -> bool:
        """Say whether the gate let this client in."""
        name = CommonName.parse(session.client_id or "")
        return name is not None and self._gate.connection(name) is not None

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Say whether the client may publish, subscribe or receive here."""
        name = CommonName.parse(session.client_id or "") if session else None
        if name is None or topic is None or action is None:
            return False
        connection = self._gate.connection(name)
        if connection is None:
            return False
        if action is Action.PUBLISH:  # asked once for each message, in order
            connection.taken()
        return name.may(ACTIONS[action], topic)


class BoundedBroker(Broker):  # type: ignore[misc]  # same
    """amqtt with a bound on the messages inside: while the owner reads slowly, neighbours wait at their sockets."""

    def __init__(self, config: BrokerConfig) -> None:
        super().__init__(config)
        self._broadcast_queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=MAX_PENDING)

    async def _run_broadcast(self, running_tasks: deque[asyncio.Task[Any]]) -> None:
        while len(running_tasks) >= MAX_PENDING:
            await asyncio.wait({running_tasks[0]})
            sent = running_tasks.popleft()
            if not sent.cancelled() and sent.exception() is not None:
                logging.getLogger(__name__).debug("the owner did not acknowledge a message")
        await super()._run_broadcast(running_tasks)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the node tells its broker."""

    port: int
    bind_address: str | None
    ca: Path
    certificate: Path
    key: Path
    policy: Path

    @classmethod
    def load(cls, path: Path) -> "Settings":
        """Read the file the supervisor wrote."""
        values = json.loads(path.read_bytes())
        return cls(
            port=values["port"],
            bind_address=values["bind_address"],
            **{name: Path(values[name]) for name in ("ca", "certificate", "key", "policy")},
        )

    def clients(self) -> list[CommonName]:
        """Read who may connect."""
        return [name for line in self.policy.read_text("ascii").splitlines() if (name := CommonName.parse(line))]


async def serve(settings: Settings) -> None:
    """Run the broker until SIGTERM."""
    loop = asyncio.get_running_loop()
    tls = server_context(ca_path=settings.ca, certificate_path=settings.certificate, key_path=settings.key)

    async def serve_one(connection: GatedConnection) -> None:
        await broker.external_connected(connection, StreamWriterAdapter(connection.writer), LISTENER)

    gate = Gate(tls=tls, serve=serve_one)
    broker = BoundedBroker(
        BrokerConfig(
            listeners={LISTENER: ListenerConfig(type=ListenerType.EXTERNAL)},
            plugins={f"{__name__}.{TopicPolicy.__name__}": {"gate": gate}},
        )
    )
    gate.allow(settings.clients())
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, lambda: gate.allow(settings.clients()))
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    with _listen(settings) as listener:
        await broker.start()
        accepting = asyncio.create_task(gate.run(listener))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({accepting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await accepting
        await broker.shutdown()


def _listen(settings: Settings) -> socket.socket:
    if settings.bind_address is not None:
        family = socket.AF_INET6 if ":" in settings.bind_address else socket.AF_INET
        listener = socket.create_server((settings.bind_address, settings.port), family=family)
    elif socket.has_dualstack_ipv6():
        listener = socket.create_server(("", settings.port), family=socket.AF_INET6, dualstack_ipv6=True)
    else:
        listener = socket.create_server(("", settings.port))
    listener.setblocking(False)
    return listener


class OneLine(logging.Formatter):
    """A line a record, whatever it carries: the severity, the message, the error's name; no traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the line."""
        error = f" ({record.exc_info[1]!r})" if record.exc_info and record.exc_info[1] else ""
        return f"{record.levelname.capitalize()}: {record.getMessage()}{error}".replace("\n", " ")


def main() -> int:
    """Run as a process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    try:
        asyncio.run(serve(Settings.load(Path(sys.argv[1]))))
    except OSError as error:
        reason = "Address already in use" if error.errno == errno.EADDRINUSE else str(error)
        logging.getLogger(__name__).error("%s", reason)  # noqa: TRY400  the supervisor reads one line
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A client of one MQTT broker: it dials, keeps dialling and bounds what is on its way (mqtt_connection.py)."""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mesh import reach
from mesh.core.mqtt_packets import MAX_PAYLOAD_BYTES
from mesh.dialling import SILENCE_MS, dial
from mesh.errors import LinkDownError, MessageTooLargeError, QueueFullError
from mesh.mqtt_connection import Connection

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MqttTuning:
    """How patient a client is."""

    connect_timeout_s: float = 4.0  # TCP, TLS, CONNACK and SUBACK together
    keepalive_s: int = 10  # when nothing else is sent
    silence_ms: int = SILENCE_MS
    backoff_first_s: float = 0.25
    backoff_max_s: float = 30.0
    stable_after_s: float = 10.0  # a connection this old starts the next back-off from the beginning
    max_bytes: int = 4 * 1024 * 1024  # on the way, not yet acknowledged by the broker
    max_messages: int = 1024
    resend_s: float = 10.0  # a message lost with its connection is sent again if it is not older
    qos: Literal[0, 1] = 1  # 0: nothing is acknowledged; on its way is then what the socket has not taken yet


@dataclass(frozen=True)
class _Sent:
    at: float  # monotonic
    topic: str
    payload: bytes


class MqttClient:
    """A client of one broker that stays connected for as long as `run` runs.

    `on_message(topic, payload)` and `on_state(connected)` are called in the event loop.  `hosts` are tried in turn.
    """

    def __init__(
        self,
        *hosts: str,
        port: int,
        tls: ssl.SSLContext,
        client_id: str,
        subscribe: str | None = None,
        on_message: Callable[[str, bytes], None] | None = None,
        on_state: Callable[[bool], None] | None = None,
        tuning: MqttTuning | None = None,
    ) -> None:
        self._hosts = hosts
        self._port = port
        self._tls = tls
        self._client_id = client_id
        self._subscribe = subscribe
        self._on_message = on_message
        self._on_state = on_state
        self._tuning = tuning or MqttTuning()
        self._connection: Connection | None = None
        self._sent: dict[int, _Sent] = {}
        self._sent_bytes = 0
        self._woken = asyncio.Event()
        self._closed = asyncio.Event()
        self.last_error = ""
        """Where and why connecting failed, for people; empty before the first failure."""

    @property
    def connected(self) -> bool:
        """Whether messages can be published now."""
        return self._connection is not None

    @property
    def bytes_in_flight(self) -> int:
        """Bytes the broker has not acknowledged yet or, without acknowledgements, the socket has not taken."""
        return self._sent_bytes + (0 if self._connection is None else self._connection.unwritten_bytes)

    @property
    def is_half_full(self) -> bool:
        """Whether half of what may be on its way is."""
        return 2 * self.bytes_in_flight >= self._tuning.max_bytes or 2 * len(self._sent) >= self._tuning.max_messages

    def publish(self, topic: str, payload: bytes) -> None:
        """Send one message.

        Raises LinkDownError when not connected, QueueFullError when too much is on its way, MessageTooLargeError.
        """
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise MessageTooLargeError(f"a message of {len(payload)} bytes; the most is {MAX_PAYLOAD_BYTES}")
        if self._connection is None:
            raise LinkDownError(f"no connection to the broker: {self.last_error or 'not dialled yet'}")
        in_flight = self.bytes_in_flight
        if in_flight + len(payload) > self._tuning.max_bytes or len(self._sent) >= self._tuning.max_messages:
            raise QueueFullError(f"{in_flight} bytes are on their way already")
        self._send(self._connection, _Sent(time.monotonic(), topic, payload))

    def wake(self, *hosts: str, port: int | None = None) -> None:
        """Try again at once, from now on at this address if one is given: the neighbour has been sighted."""
        self._hosts = hosts or self._hosts
        self._port = port or self._port
        self._woken.set()

    def close(self) -> None:
        """Let `run` say goodbye and return; calling it again does nothing."""
        self._closed.set()
        self._woken.set()
        if self._connection is not None:
            self._connection.lost.set()

    async def run(self) -> None:
        """Connect, stay connected, come back after each loss; until closed or cancelled."""
        backoff = self._tuning.backoff_first_s
        while not self._closed.is_set():
            self._woken.clear()
            started = time.monotonic()
            for host in self._hosts:
                if await self._connect_and_serve(host) or self._closed.is_set():
                    break
            if time.monotonic() - started >= self._tuning.stable_after_s:
                backoff = self._tuning.backoff_first_s
            if await self._rest(backoff * random.uniform(0.5, 1.0)):  # noqa: S311  not a secret
                backoff = self._tuning.backoff_first_s
            else:
                backoff = min(2 * backoff, self._tuning.backoff_max_s)

    async def _rest(self, seconds: float) -> bool:
        """Wait; return whether something ended it early."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True

    async def _connect_and_serve(self, host: str) -> bool:
        """Live through one connection; return whether there was one."""
        try:
            async with asyncio.timeout(self._tuning.connect_timeout_s):
                sock = await dial(host, self._port, tls=self._tls, silence_ms=self._tuning.silence_ms)
        except (OSError, TimeoutError) as error:
            self._failed(host, error)
            return False
        connection = Connection(
            sock, client_id=self._client_id, keepalive_s=self._tuning.keepalive_s, qos=self._tuning.qos
        )
        try:
            async with asyncio.timeout(self._tuning.connect_timeout_s):
                await connection.open(host, self._port, subscribe=self._subscribe, on_message=self._deliver)
            self._came_up(connection)
            await connection.stay()
        except (OSError, TimeoutError) as error:
            self._failed(host, error)
            return False
        else:
            if not self._closed.is_set():
                self._failed(host, connection.reason)
            return True
        finally:
            connection.shut()
            self._went_down()

    def _came_up(self, connection: "Connection") -> None:
        connection.on_acknowledged = self._acknowledged
        self._connection = connection
        interrupted, self._sent, self._sent_bytes = self._sent, {}, 0
        oldest = time.monotonic() - self._tuning.resend_s
        for message in interrupted.values():
            if message.at >= oldest:
                self._send(connection, message)
        log.debug("connected to the broker at %s as %s", self._where(), self._client_id)
        if self._on_state is not None:
            self._on_state(True)

    def _went_down(self) -> None:
        if self._connection is not None:
            self._connection = None
            if self._on_state is not None:
                self._on_state(False)

    def _failed(self, host: str, why: BaseException | str) -> None:
        text = f"{host} port {self._port}: {reach.reason(why) if isinstance(why, BaseException) else why}"
        if text != self.last_error:  # the same reason again is no news
            log.info("no connection to the broker as %s: %s", self._client_id, text)
        self.last_error = text

    def _where(self) -> str:
        return f"{' or '.join(self._hosts)} port {self._port}"

    def _send(self, connection: "Connection", message: _Sent) -> None:
        identifier = connection.send(message.topic, message.payload)
        if self._tuning.qos == 0:
            return
        self._sent[identifier] = message
        self._sent_bytes += len(message.payload)

    def _acknowledged(self, identifier: int) -> None:
        message = self._sent.pop(identifier, None)
        if message is not None:
            self._sent_bytes -= len(message.payload)

    def _deliver(self, topic: str, payload: bytes) -> None:
        if self._on_message is not None:
            self._on_message(topic, payload)

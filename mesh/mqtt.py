"""One MQTT connection in asyncio: paho speaks the protocol, this module owns the socket and the patience.

`MqttClient` dials, keeps dialling and bounds what is on its way; `_Connection` is one connection, from CONNECT to
the loss of its socket.  No threads: paho is handed a socket whose TLS handshake is done already.
"""

import asyncio
import logging
import random
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from mesh import reach
from mesh.core.mqtt_packets import MAX_PACKET_BYTES, MAX_PAYLOAD_BYTES
from mesh.dialling import SILENCE_MS, dial
from mesh.errors import LinkDownError, MessageTooLargeError, QueueFullError

log = logging.getLogger(__name__)

READ_BYTES = 64 * 1024  # at a time, so that a large packet does not make a large buffer for every record
SMALL_READ_BYTES = 1024  # for connections on which only acknowledgements come
READS_PER_WAKE = 64  # then the loop's other work has its turn
BYTES_PER_WAKE = 1024 * 1024  # and what has arrived is handed on
MALFORMED = (ValueError, LookupError, AttributeError, TypeError, struct.error, MQTTException)
"""What paho raises when a broker sends it nonsense; fuzzed in the tests."""


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
        self._connection: _Connection | None = None
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
        """Payload bytes the broker has not acknowledged yet."""
        return self._sent_bytes

    @property
    def is_half_full(self) -> bool:
        """Whether half of what may be on its way is."""
        return 2 * self._sent_bytes >= self._tuning.max_bytes or 2 * len(self._sent) >= self._tuning.max_messages

    def publish(self, topic: str, payload: bytes) -> None:
        """Send one message, QoS 1.

        Raises LinkDownError when not connected, QueueFullError when too much is on its way, MessageTooLargeError.
        """
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise MessageTooLargeError(f"a message of {len(payload)} bytes; the most is {MAX_PAYLOAD_BYTES}")
        if self._connection is None:
            raise LinkDownError(f"no connection to the broker: {self.last_error or 'not dialled yet'}")
        full = self._sent_bytes + len(payload) > self._tuning.max_bytes
        if full or len(self._sent) >= self._tuning.max_messages:
            raise QueueFullError(f"{self._sent_bytes} bytes in {len(self._sent)} messages are on their way already")
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
        connection = _Connection(sock, client_id=self._client_id, keepalive_s=self._tuning.keepalive_s)
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

    def _came_up(self, connection: "_Connection") -> None:
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

    def _send(self, connection: "_Connection", message: _Sent) -> None:
        identifier = connection.send(message.topic, message.payload)
        self._sent[identifier] = message
        self._sent_bytes += len(message.payload)

    def _acknowledged(self, identifier: int) -> None:
        message = self._sent.pop(identifier, None)
        if message is not None:
            self._sent_bytes -= len(message.payload)

    def _deliver(self, topic: str, payload: bytes) -> None:
        if self._on_message is not None:
            self._on_message(topic, payload)


class _Connection:
    """One connection to a broker; `lost` is set when its socket is gone, `reason` then says why."""

    def __init__(self, sock: ssl.SSLSocket, *, client_id: str, keepalive_s: int) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._keepalive_s = keepalive_s
        self._opened = asyncio.Event()
        self._subscription: str | None = None
        self._arrived: list[tuple[str, bytes]] = []
        self._arrived_bytes = 0
        self._deliver: Callable[[str, bytes], None] = lambda _topic, _payload: None
        self._writing = False
        self.lost = asyncio.Event()
        self.reason = "the broker closed the connection"
        self.on_acknowledged: Callable[[int], None] = lambda _identifier: None
        self._paho = _Paho(sock, client_id)
        self._paho.on_connect = self._connected
        self._paho.on_subscribe = self._subscribed
        self._paho.on_message = self._received
        self._paho.on_publish = self._published
        self._paho.on_socket_close = self._closing

    async def open(
        self, host: str, port: int, *, subscribe: str | None, on_message: Callable[[str, bytes], None]
    ) -> None:
        """Say CONNECT and subscribe.  Raises ConnectionError when the broker refuses or hangs up."""
        self._subscription = subscribe
        self._deliver = on_message
        self._paho.connect_async(host, port, self._keepalive_s)
        self._paho.reconnect()  # takes the socket and sends CONNECT
        if self._paho.socket() is None:  # the broker has hung up already, as on a foreign certificate
            raise ConnectionError(self.reason)
        self._loop.add_reader(self._sock, self._readable)
        self._settle()
        waits = [asyncio.create_task(event.wait()) for event in (self._opened, self.lost)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self.lost.is_set():
            raise ConnectionError(self.reason)

    async def stay(self) -> None:
        """Keep the connection alive until it is lost."""
        while not self.lost.is_set():
            try:
                async with asyncio.timeout(self._keepalive_s / 4):
                    await self.lost.wait()
            except TimeoutError:
                self._paho.loop_misc()
                self._settle()

    def send(self, topic: str, payload: bytes) -> int:
        """Publish with QoS 1; return the packet identifier."""
        info = self._paho.publish(topic, payload, qos=1)
        self._settle()
        return info.mid

    def shut(self) -> None:
        """Say goodbye if the socket takes it at once, and close it."""
        if self._paho.is_connected():
            self._paho.disconnect()
        self._paho.drop()
        self._sock.close()

    def _readable(self) -> None:
        try:
            for _ in range(READS_PER_WAKE):
                self._paho.loop_read()
                # What TLS has decrypted already wakes no selector.
                if self._paho.socket() is None or not self._sock.pending():
                    break
                if self._arrived_bytes >= BYTES_PER_WAKE:
                    self._loop.call_soon(self._readable)
                    break
            else:
                self._loop.call_soon(self._readable)
        except MALFORMED as error:
            self.reason = f"the broker sent a malformed packet ({type(error).__name__})"
            self._paho.drop()
        self._settle()
        arrived, self._arrived, self._arrived_bytes = self._arrived, [], 0
        for topic, payload in arrived:
            self._deliver(topic, payload)

    def _writable(self) -> None:
        self._paho.loop_write()
        self._settle()

    def _settle(self) -> None:
        """Watch for writability exactly while paho has something to write; notice a closed socket."""
        if self._paho.socket() is None:
            self.lost.set()
        elif self._paho.want_write() and not self._writing:
            self._writing = True
            self._loop.add_writer(self._sock, self._writable)
        elif self._writing and not self._paho.want_write():
            self._writing = False
            self._loop.remove_writer(self._sock)

    def _closing(self, *_: object) -> None:
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self.lost.set()

    def _connected(self, _client: paho.Client, _data: object, _flags: object, code: ReasonCode, _more: object) -> None:
        if code.is_failure:
            self.reason = f"the broker refused: {code}"
        elif self._subscription is None:
            self._opened.set()
        else:
            self._paho.subscribe(self._subscription, qos=1)

    def _subscribed(
        self, _client: paho.Client, _data: object, _id: int, codes: list[ReasonCode], _more: object
    ) -> None:
        if any(code.is_failure for code in codes):
            self.reason = f"the broker refused the subscription to {self._subscription}"
            self._paho.drop()
        else:
            self._opened.set()

    def _received(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        # Delivered after paho has returned: an error of the receiver is not a malformed packet.
        if self._subscription is not None:
            self._arrived.append((message.topic, bytes(message.payload)))
            self._arrived_bytes += len(message.payload)

    def _published(self, _client: paho.Client, _data: object, identifier: int, *_: object) -> None:
        self.on_acknowledged(identifier)


class _Paho(paho.Client):
    """paho on a socket that is connected already, with a bound on what the broker may send."""

    def __init__(self, sock: ssl.SSLSocket, client_id: str) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv311, reconnect_on_failure=False
        )
        self._dialled = sock
        self._scratch = memoryview(bytearray(SMALL_READ_BYTES))
        self.max_inflight_messages_set(0)  # MqttClient bounds what is on its way

    def drop(self) -> None:
        """Close the socket without a word."""
        self._sock_close()

    def _packet_queue(
        self, command: int, packet: bytes | bytearray, mid: int, qos: int, info: paho.MQTTMessageInfo | None = None
    ) -> MQTTErrorCode:
        # TLS takes 16 KiB at a time, and paho cuts the rest off anew each time: of a view that copies nothing.
        view = memoryview(packet)
        return super()._packet_queue(command, view, mid, qos, info)  # type: ignore[arg-type]

    def _create_socket(self) -> ssl.SSLSocket:
        return self._dialled

    def _sock_recv(self, bufsize: int) -> bytes:
        """Read as many records of TLS as fit; paho copies them away before it reads again."""
        if bufsize > MAX_PACKET_BYTES:
            raise ConnectionAbortedError(f"the broker announced a packet of {bufsize} bytes")
        if self._sock is None:
            raise ConnectionError("the connection is closed")
        if len(self._scratch) < min(bufsize, READ_BYTES):
            self._scratch = memoryview(bytearray(READ_BYTES))
        size, room = 0, self._scratch[:bufsize]
        while room:
            try:
                count = int(self._dialled.read(len(room), room))  # into a buffer, it returns how much
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                if size == 0:
                    raise BlockingIOError from error
                break
            if count == 0:
                break
            size, room = size + count, room[count:]
        return self._scratch[:size]  # type: ignore[return-value]  # whatever can be appended to a bytearray

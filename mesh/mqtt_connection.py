"""One MQTT connection, from CONNECT to the loss of its socket: paho speaks the protocol, this module owns the socket.

No threads: paho is handed a socket whose TLS handshake is done already.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Literal

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MessageType, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from mesh.core.mqtt_packets import MAX_PACKET_BYTES, remaining_length

READ_BYTES = 64 * 1024  # at a time, so that a large packet does not make a large buffer for every record
SMALL_READ_BYTES = 1024  # for connections on which only acknowledgements come
SEND_BUFFER_BYTES = 1024 * 1024  # without acknowledgements: enough for a sender not to wait for a busy broker
QOS_BITS = 0b110  # of the first byte of a PUBLISH
READS_PER_WAKE = 64  # then the loop's other work has its turn
BYTES_PER_WAKE = 1024 * 1024  # and what has arrived is handed on
MALFORMED = (ValueError, LookupError, AttributeError, TypeError, struct.error, MQTTException)
"""What paho raises when a broker sends it nonsense; fuzzed in the tests."""


class Connection:
    """One connection to a broker; `lost` is set when its socket is gone, `reason` then says why."""

    def __init__(self, sock: ssl.SSLSocket, *, client_id: str, keepalive_s: int, qos: Literal[0, 1]) -> None:
        self._sock = sock
        self._qos = qos
        if qos == 0:  # what the kernel holds nobody sees here
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
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
        self._paho = PahoClient(sock, client_id)
        self._paho.on_connect = self._connected
        self._paho.on_subscribe = self._subscribed
        self._paho.on_message = self._received
        self._paho.on_plain_message = self._take
        if qos:
            self._paho.on_publish = self._published
        self._paho.on_socket_close = self._closing

    @property
    def unwritten_bytes(self) -> int:
        """What the socket has not taken yet of messages that nobody acknowledges."""
        return self._paho.unwritten_bytes if self._qos == 0 else 0

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
        """Publish; return the packet identifier, 0 where nothing is acknowledged."""
        if self._qos == 0:
            self._paho.publish_once(topic.encode(), payload)
            self._settle()
            return 0
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
        self._take(message.topic, bytes(message.payload))

    def _take(self, topic: str, payload: bytes) -> None:
        # Delivered after paho has returned: an error of the receiver is not a malformed packet.
        if self._subscription is not None:
            self._arrived.append((topic, payload))
            self._arrived_bytes += len(payload)

    def _published(self, _client: paho.Client, _data: object, identifier: int, *_: object) -> None:
        self.on_acknowledged(identifier)


class PahoClient(paho.Client):
    """paho on a socket that is connected already, with a bound on what the broker may send."""

    def __init__(self, sock: ssl.SSLSocket, client_id: str) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv311, reconnect_on_failure=False
        )
        self._dialled = sock
        self._scratch = memoryview(bytearray(SMALL_READ_BYTES))
        self._nobody = paho.MQTTMessageInfo(0)  # who waits for a message that nobody acknowledges
        self.max_inflight_messages_set(0)  # MqttClient bounds what is on its way
        self.on_plain_message: Callable[[str, bytes], None] = lambda _topic, _payload: None
        """Called with a message that nobody acknowledges, instead of on_message."""

    @property
    def unwritten_bytes(self) -> int:
        """What the socket has not taken yet."""
        return sum(packet["to_process"] for packet in self._out_packet)

    def drop(self) -> None:
        """Close the socket without a word."""
        self._sock_close()

    def publish_once(self, topic: bytes, payload: bytes) -> None:
        """Publish with QoS 0 (MQTT 3.1.1, 3.3), without all that paho keeps of each message."""
        length = remaining_length(2 + len(topic) + len(payload))
        packet = b"".join((bytes([MessageType.PUBLISH]), length, len(topic).to_bytes(2, "big"), topic, payload))
        self._packet_queue(MessageType.PUBLISH, packet, 0, 0, self._nobody)

    def _packet_queue(
        self, command: int, packet: bytes | bytearray, mid: int, qos: int, info: paho.MQTTMessageInfo | None = None
    ) -> MQTTErrorCode:
        # TLS takes 16 KiB at a time, and paho cuts the rest off anew each time: of a view that copies nothing.
        view = memoryview(packet)
        return super()._packet_queue(command, view, mid, qos, info)  # type: ignore[arg-type]

    def _handle_publish(self) -> MQTTErrorCode:
        """Take a message of QoS 0 (MQTT 3.1.1, 3.3) with one copy; of a large one paho makes two more."""
        if self._in_packet["command"] & QOS_BITS:
            return super()._handle_publish()
        packet = self._in_packet["packet"]
        end = 2 + int.from_bytes(packet[:2], "big")
        if len(packet) < end:
            raise ValueError("a message that ends within its topic")
        with memoryview(packet) as view:
            payload = view[end:].tobytes()
        self.on_plain_message(packet[2:end].decode(), payload)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

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

"""Delivery: every message of the device once, in order, to any node in reach, over whatever path there is.

streams.py decides what is due and what is a duplicate; this module has the clock, the paths and the acknowledgements.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mesh.core import codec
from mesh.core.envelope import MAX_BODY_BYTES, MESSAGE_ID_BYTES, STREAM_BYTES, Envelope, MeshKind
from mesh.core.frames import Lane
from mesh.core.streams import Ack, ReceiveStream, SendStream
from mesh.counters import Counted, Counters
from mesh.errors import MeshError, MessageTooLargeError

log = logging.getLogger(__name__)

ACK_WITHIN_S: Final = 0.02  # gathered: tokens come many a second
ACK_TTL_S: Final = 5.0
NO_PATH_PAUSE_S: Final = 0.25  # then a path is looked for again; a new one is tried at once


@dataclass(eq=False)
class _Conversation:
    """Both directions with one peer on one lane."""

    sending: SendStream
    receiving: ReceiveStream = field(default_factory=ReceiveStream)
    ack: asyncio.TimerHandle | None = None
    doubts: bool = False  # the way of the last acknowledgement may be at fault


class Delivery:
    """Keeps messages until they have arrived; `run` must be running for them to be sent again.

    `carry(peer, lane, envelope, retried)` hands an envelope to the path of the moment and raises MeshError when there
    is none.
    `hand_over(peer, envelope)` is called with what arrives.
    """

    def __init__(
        self,
        *,
        carry: Callable[[str, Lane, Envelope, bool], None],
        hand_over: Callable[[str, Envelope], None],
        counters: Counters,
    ) -> None:
        self._carry = carry
        self._hand_over = hand_over
        self._counters = counters
        self._conversations: dict[tuple[str, Lane], _Conversation] = {}
        self._stirred = asyncio.Event()

    async def run(self) -> None:
        """Send again what was not acknowledged in time, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._stirred.clear()
                busy = {key: one for key, one in self._conversations.items() if not one.sending.is_idle}
                due = [at for one in busy.values() if (at := one.sending.next_due()) is not None]
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(min(due, default=None)):
                        await self._stirred.wait()
                        continue
                now = loop.time()
                for (peer, lane), one in busy.items():
                    at = one.sending.next_due()
                    if at is not None and at <= now:
                        self._pump(peer, lane, one)
        finally:
            for one in self._conversations.values():
                if one.ack is not None:
                    one.ack.cancel()

    def send(self, peer: str, kind: int, body: bytes, *, re: bytes | None, lane: Lane, ttl_s: float) -> bytes:
        """Take a message and send it as soon as there is a path; return its id.

        Errors: QueueFullError, MessageTooLargeError; it is not taken then.
        """
        if len(body) > MAX_BODY_BYTES:
            raise MessageTooLargeError(f"a message of {len(body)} bytes; one holds at most {MAX_BODY_BYTES}")
        envelope = Envelope(kind, secrets.token_bytes(MESSAGE_ID_BYTES), re, round(ttl_s * 1000), body)
        conversation = self._conversation(peer, lane)
        conversation.sending.put(envelope, now=asyncio.get_running_loop().time())
        self._pump(peer, lane, conversation)
        self._stirred.set()
        return envelope.message_id

    def arrived(self, peer: str, lane: Lane, envelope: Envelope) -> None:
        """Take an ACK or a numbered message.  Errors: MalformedError."""
        if envelope.kind == MeshKind.ACK:
            self._acknowledged(peer, Ack.parse(envelope.body))
            return
        conversation = self._conversation(peer, lane)
        ready = conversation.receiving.receive(envelope)
        # At once where something is missing or came twice: the sender is waiting to hear of it.
        conversation.doubts = conversation.doubts or conversation.receiving.repeated
        self._acknowledge_soon(peer, conversation, ACK_WITHIN_S if ready else 0.0)
        for one in ready:
            self._hand_over(peer, one)

    def path_changed(self, peer: str) -> None:
        """Send again at once what was on a path that may be gone."""
        now = asyncio.get_running_loop().time()
        for lane in Lane:
            conversation = self._conversations.get((peer, lane))
            if conversation is not None and not conversation.sending.is_idle:
                conversation.sending.hurry(now=now)
                self._pump(peer, lane, conversation)
        self._stirred.set()

    def forget(self, peer: str) -> None:
        """Give up what is kept for a node that is no member any more."""
        for lane in Lane:
            gone = self._conversations.pop((peer, lane), None)
            if gone is not None and gone.ack is not None:
                gone.ack.cancel()

    def _conversation(self, peer: str, lane: Lane) -> _Conversation:
        found = self._conversations.get((peer, lane))
        if found is None:
            found = self._conversations[peer, lane] = _Conversation(SendStream(secrets.token_bytes(STREAM_BYTES)))
        return found

    def _pump(self, peer: str, lane: Lane, conversation: _Conversation) -> None:
        """Hand on what is due; without a path it waits for one."""
        now = asyncio.get_running_loop().time()
        sending = conversation.sending
        for envelope in sending.due(now=now):
            repeated = sending.is_repeated(envelope)
            try:
                self._carry(peer, lane, envelope, sending.is_retried(envelope))
            except MeshError as error:
                log.debug("a message for %s waits: %s", peer[:8], error)
                sending.postpone(envelope, until=now + NO_PATH_PAUSE_S)
            else:
                sending.sent(envelope, now=now)
                if repeated:
                    self._counters.count(Counted.MESSAGES_RETRIED)

    def _acknowledged(self, peer: str, ack: Ack) -> None:
        now = asyncio.get_running_loop().time()
        for lane in Lane:
            conversation = self._conversations.get((peer, lane))
            if conversation is not None and conversation.sending.stream == ack.stream:
                conversation.sending.acknowledged(ack.next, ack.beyond, now=now)
                self._pump(peer, lane, conversation)
                self._stirred.set()

    def _acknowledge_soon(self, peer: str, conversation: _Conversation, within_s: float) -> None:
        if within_s == 0.0 and conversation.ack is not None:
            conversation.ack.cancel()
            conversation.ack = None
        if conversation.ack is None:
            loop = asyncio.get_running_loop()
            conversation.ack = loop.call_later(within_s, self._acknowledge, peer, conversation)

    def _acknowledge(self, peer: str, conversation: _Conversation) -> None:
        """Say what has arrived; who does not hear it sends again, and hears it then."""
        conversation.ack = None
        fields = conversation.receiving.acknowledgement()
        if fields is None:
            return
        body = codec.encode(fields)
        envelope = Envelope(MeshKind.ACK, secrets.token_bytes(MESSAGE_ID_BYTES), None, round(ACK_TTL_S * 1000), body)
        try:
            self._carry(peer, Lane.CTL, envelope, conversation.doubts)
        except MeshError as error:
            log.debug("an acknowledgement for %s was not sent: %s", peer[:8], error)
        else:
            conversation.doubts = False

"""Messages between two nodes once and in order, whatever happens to the frames that carry them.

Each end numbers what it sends to the other on a lane; the receiver acknowledges, hands over in order and drops what it
has had.  What is not acknowledged is sent again, over whichever path there is then, until its time to live is over.

    place in an envelope  [stream(8), seq, base]          base: the lowest seq that may still come
    ACK                   [stream(8), next, [seq...]]     everything before `next` has arrived, and these beyond it

A stream is the life of one sender: it begins with a random id at each start.  A receiver that does not know it (it has
started anew itself) begins at `base`.  Timeouts follow RFC 6298, with bounds that suit tokens on a local net.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from mesh.core import codec
from mesh.core.envelope import STREAM_BYTES, Envelope, StreamPlace
from mesh.errors import MalformedError, QueueFullError

MAX_WAITING: Final = 1024  # messages of one stream that are not acknowledged yet
MAX_WAITING_BYTES: Final = 4 * 1024 * 1024
WINDOW: Final = 64  # of them on the way at a time
WINDOW_BYTES: Final = 256 * 1024  # more would wait in the buffers of a slow radio, where tokens wait behind it
MAX_AHEAD: Final = WINDOW  # kept by a receiver while one before them is missing
MAX_AHEAD_BYTES: Final = 2 * WINDOW_BYTES
MAX_PAST_STREAMS: Final = 8
MAX_SEQ: Final = 2**62
FIRST_TIMEOUT_S: Final = 0.5
MIN_TIMEOUT_S: Final = 0.2
MAX_TIMEOUT_S: Final = 3.0
MAX_DOUBLINGS: Final = 8  # of a timeout; by then it is the longest
MAX_ACK_BYTES: Final = 1024


@dataclass(eq=False)
class _Outgoing:
    """A message until it is acknowledged."""

    envelope: Envelope  # with its stream and seq; base is filled in when it is sent
    seq: int
    expires_at: float
    sent_at: float = 0.0
    due_at: float = 0.0
    sends: int = 0  # since the path last changed
    copies: int = 0  # ever
    arrived: bool = False  # out of turn: the receiver keeps it for when what is missing has come, or is given up

    @property
    def size(self) -> int:
        return len(self.envelope.body)


class SendStream:
    """What goes to one peer on one lane; times are monotonic seconds, `stream` is 8 random bytes."""

    def __init__(self, stream: bytes) -> None:
        self.stream = stream
        self._next = 0
        self._waiting: OrderedDict[int, _Outgoing] = OrderedDict()
        self._bytes = 0
        self._smoothed_s: float | None = None
        self._variation_s = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether everything has been acknowledged or has expired."""
        return not self._waiting

    def put(self, envelope: Envelope, *, now: float) -> None:
        """Take a message to be sent.  Errors: QueueFullError; it is not taken then."""
        size = len(envelope.body)
        if len(self._waiting) >= MAX_WAITING or (self._waiting and self._bytes + size > MAX_WAITING_BYTES):
            raise QueueFullError(f"{self._bytes} bytes in {len(self._waiting)} messages wait for that node already")
        numbered = replace(envelope, place=StreamPlace(self.stream, self._next, 0))
        self._waiting[self._next] = _Outgoing(numbered, self._next, now + envelope.ttl_ms / 1000)
        self._next += 1
        self._bytes += size

    def due(self, *, now: float) -> list[Envelope]:
        """Return what is to be sent now: new messages inside the window, and those whose acknowledgement is late.

        Call `sent` with each that was handed on.
        """
        self._expire(now)
        base = self._base()
        return [
            replace(one.envelope, place=StreamPlace(self.stream, one.seq, base))
            for one in self._due_some_time()
            if one.due_at <= now
        ]

    def sent(self, envelope: Envelope, *, now: float) -> None:
        """Note that a message was handed on; its next turn comes when no acknowledgement does."""
        place = envelope.place
        one = self._waiting.get(place.seq) if place is not None else None
        if one is not None:
            one.sends += 1
            one.copies += 1
            one.sent_at = now
            one.due_at = now + min(self._timeout_s() * 2 ** min(one.sends - 1, MAX_DOUBLINGS), MAX_TIMEOUT_S)

    def postpone(self, envelope: Envelope, *, until: float) -> None:
        """Note that a message could not be handed on."""
        place = envelope.place
        one = self._waiting.get(place.seq) if place is not None else None
        if one is not None:
            one.due_at = max(one.due_at, until)

    def hurry(self, *, now: float) -> None:
        """Make everything on the way due again: the path has changed, and what was on it may be lost."""
        for one in self._waiting.values():
            one.due_at, one.sends = now, 0

    def is_retried(self, envelope: Envelope) -> bool:
        """Whether a message was sent before, and its path may be at fault."""
        place = envelope.place
        one = self._waiting.get(place.seq) if place is not None else None
        return one is not None and one.sends > 0

    def is_repeated(self, envelope: Envelope) -> bool:
        """Whether a message was sent before, over whichever path."""
        place = envelope.place
        one = self._waiting.get(place.seq) if place is not None else None
        return one is not None and one.copies > 0

    def acknowledged(self, before: int, beyond: Collection[int], *, now: float) -> None:
        """Take an acknowledgement of everything before a seq and of some beyond it.

        The latter are kept: a receiver that starts anew forgets what it has not handed over.
        """
        for seq, one in list(self._waiting.items()):
            arrived = seq < before or seq in beyond
            if arrived and one.copies == 1 and not one.arrived:  # Karn: who was sent twice tells nothing of the time
                self._measured(now - one.sent_at)
            one.arrived = arrived
            if seq < before:
                self._drop(seq)

    def next_due(self) -> float | None:
        """Return when `due` should be looked at again; None while nothing waits."""
        return min((min(one.due_at, one.expires_at) for one in self._due_some_time()), default=None)

    def _base(self) -> int:
        return next(iter(self._waiting), self._next)

    def _due_some_time(self) -> Iterator[_Outgoing]:
        """Yield what has to be sent, now or later, if nothing is acknowledged meanwhile.

        What has arrived out of turn need not be, unless everything before it has been given up: then the receiver,
        which waits for that, must be told.
        """
        base = self._base()
        return (one for one in self._window(base) if not one.arrived or one.seq == base)

    def _window(self, base: int) -> Iterator[_Outgoing]:
        """Yield what may be on the way now, or at the receiver out of turn: the first of those that wait."""
        size = 0
        for one in self._waiting.values():
            size += one.size
            if one.seq >= base + WINDOW or size > max(WINDOW_BYTES, one.size):
                return
            yield one

    def _expire(self, now: float) -> None:
        for seq in [seq for seq, one in self._waiting.items() if one.expires_at <= now]:
            self._drop(seq)

    def _drop(self, seq: int) -> None:
        self._bytes -= self._waiting.pop(seq).size

    def _measured(self, sample_s: float) -> None:
        if self._smoothed_s is None:
            self._smoothed_s, self._variation_s = sample_s, sample_s / 2
        else:
            self._variation_s += (abs(self._smoothed_s - sample_s) - self._variation_s) / 4
            self._smoothed_s += (sample_s - self._smoothed_s) / 8

    def _timeout_s(self) -> float:
        if self._smoothed_s is None:
            return FIRST_TIMEOUT_S
        return min(max(self._smoothed_s + 4 * self._variation_s, MIN_TIMEOUT_S), MAX_TIMEOUT_S)


@dataclass
class _Incoming:
    """One stream of a peer's as far as it has come."""

    stream: bytes
    next: int
    ahead: dict[int, Envelope] = field(default_factory=dict)
    ahead_bytes: int = 0

    def forget_ahead(self) -> None:
        """Let go of what came too early; its sender, if it lives, sends it again."""
        self.ahead.clear()
        self.ahead_bytes = 0


class ReceiveStream:
    """What comes from one peer on one lane."""

    def __init__(self) -> None:
        self._current: _Incoming | None = None
        # How far the others have come.  Which of two is the peer's present life nobody here can tell: the first message
        # of an earlier one may have been held back, and come last.
        self._past: OrderedDict[bytes, _Incoming] = OrderedDict()
        self.repeated = False  # what came last had come before: what acknowledged it may have been lost

    def receive(self, envelope: Envelope) -> list[Envelope]:
        """Take a numbered message; return what may be handed over now, in order.  Errors: MalformedError."""
        place = envelope.place
        if place is None or place.base > place.seq:
            raise MalformedError("a message without a place in its stream")
        stream = self._stream_of(place)
        ready = self._skip_to(stream, place.base)
        self.repeated = place.seq < stream.next or place.seq in stream.ahead
        if stream.next <= place.seq < stream.next + MAX_AHEAD and place.seq not in stream.ahead:
            in_turn = place.seq == stream.next
            if in_turn or stream.ahead_bytes + len(envelope.body) <= MAX_AHEAD_BYTES:
                stream.ahead[place.seq] = envelope
                stream.ahead_bytes += len(envelope.body)
        return ready + self._in_order(stream)

    def acknowledgement(self) -> list[codec.Item] | None:
        """Write what an ACK says; None before anything has come."""
        stream = self._current
        if stream is None:
            return None
        beyond: list[codec.Item] = [*sorted(stream.ahead)]
        return [stream.stream, stream.next, beyond]

    def _stream_of(self, place: StreamPlace) -> _Incoming:
        """Return the stream a message belongs to, which is the present one from now on."""
        current = self._current
        if current is not None and current.stream == place.stream:
            return current
        if current is not None:
            current.forget_ahead()
            self._past[current.stream] = current
        self._current = self._past.pop(place.stream, None) or _Incoming(place.stream, place.base)
        while len(self._past) > MAX_PAST_STREAMS:
            self._past.popitem(last=False)
        return self._current

    def _skip_to(self, stream: _Incoming, base: int) -> list[Envelope]:
        """Give up what the sender has given up; what waited behind it is handed over."""
        ready = []
        for seq in sorted(seq for seq in stream.ahead if seq < base):
            envelope = stream.ahead.pop(seq)
            stream.ahead_bytes -= len(envelope.body)
            ready.append(envelope)
        stream.next = max(stream.next, base)
        return ready

    def _in_order(self, stream: _Incoming) -> list[Envelope]:
        ready = []
        while (envelope := stream.ahead.pop(stream.next, None)) is not None:
            stream.ahead_bytes -= len(envelope.body)
            stream.next += 1
            ready.append(envelope)
        return ready


@dataclass(frozen=True)
class Ack:
    """A parsed acknowledgement."""

    stream: bytes
    next: int
    beyond: frozenset[int]

    @classmethod
    def parse(cls, body: bytes) -> "Ack":
        """Read a foreign one.  Errors: MalformedError."""
        match codec.decode_array(body, max_bytes=MAX_ACK_BYTES):
            case [stream, before, beyond]:
                seqs = [codec.unsigned(seq, MAX_SEQ) for seq in codec.short_array(beyond, MAX_AHEAD)]
                return cls(codec.fixed_bytes(stream, STREAM_BYTES), codec.unsigned(before, MAX_SEQ), frozenset(seqs))
        raise MalformedError("not an acknowledgement")

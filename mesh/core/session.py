"""One session of one lane: two keys, an explicit counter, and a window against replays.

The counter is the nonce and stands in the frame, so that lost and reordered frames cost nothing.  Decision 12 of
docs/protocol.md: QoS 1 delivers at least once, and what it delivers twice dies in the window.
"""

from dataclasses import dataclass, field
from typing import Final

from mesh.core import crypto
from mesh.core.frames import Frame, FrameType, Header, Lane
from mesh.core.noise import SplitKeys
from mesh.errors import CryptoError, ReplayedError

WINDOW: Final = 2048  # RFC 6479's idea on one big integer, whose shift of 256 bytes costs nothing here
REKEY_AFTER_S: Final = 3600.0
REKEY_AFTER_FRAMES: Final = 2**32
EXPIRE_AFTER_S: Final = 2 * REKEY_AFTER_S  # a session nobody could renew; its keys are dropped
_COUNTER_END: Final = 2**63  # never reached; the nonce must not repeat whatever happens


@dataclass
class ReplayWindow:
    """Remembers which of the last 2048 counters were seen; anything older counts as seen."""

    highest: int = -1
    _seen: int = 0  # bit n: highest - n was seen

    def is_fresh(self, counter: int) -> bool:
        """Whether a frame of this counter may still be taken."""
        behind = self.highest - counter
        return behind < 0 or (behind < WINDOW and not (self._seen >> behind) & 1)

    def mark(self, counter: int) -> None:
        """Note an authenticated frame of this counter."""
        ahead = counter - self.highest
        if ahead <= 0:
            self._seen |= 1 << -ahead
            return
        self._seen = ((self._seen << ahead) & ((1 << WINDOW) - 1)) | 1 if ahead < WINDOW else 1
        self.highest = counter


@dataclass(eq=False)
class Session:
    """The keys of one handshake between two nodes on one lane.

    local_index names it in frames to us, remote_index in frames to the peer; key_id is the epoch key mixed in
    (zeros: a catch-up session, which carries kinds below 16 only); rival is the local index of the session whose
    handshake crossed this one's.
    """

    lane: Lane
    local: bytes
    remote: bytes
    keys: SplitKeys = field(repr=False)
    local_index: int
    remote_index: int
    key_id: bytes
    initiator: bool
    begun_at: float
    rival: int | None = None
    routed: bool = False
    sent: int = 0
    window: ReplayWindow = field(default_factory=ReplayWindow)

    @property
    def begun_by_lower(self) -> bool:
        """Whether the end with the lower raw id began the handshake."""
        return self.initiator == (self.local < self.remote)

    def wants_rekey(self, now: float) -> bool:
        """Whether it is old or used enough to be replaced."""
        return now - self.begun_at >= REKEY_AFTER_S or self.sent >= REKEY_AFTER_FRAMES

    def is_expired(self, now: float) -> bool:
        """Whether it must not be used any more."""
        return now - self.begun_at >= EXPIRE_AFTER_S

    def seal(self, plaintext: bytes) -> bytes:
        """Seal one message into a frame.  Errors: MessageTooLargeError."""
        if self.sent >= _COUNTER_END:
            raise CryptoError("the session's counter is used up")
        header = Header(FrameType.DATA, self.lane, self.local, self.remote, self.remote_index, routed=self.routed)
        counter = self.sent
        self.sent += 1
        sealed = crypto.seal(self.keys.send, counter, header.associated(), plaintext)
        return Frame(header, sealed, counter=counter).to_bytes()

    def open(self, frame: Frame) -> bytes:
        """Open a frame of the peer's once.  Errors: ReplayedError, CryptoError for a forgery."""
        if not self.window.is_fresh(frame.counter):
            raise ReplayedError("a frame seen before, or older than the window")
        plaintext = crypto.unseal(self.keys.receive, frame.counter, frame.header.associated(), frame.body)
        self.window.mark(frame.counter)
        return plaintext

"""Which part of a model is asked of which neighbour next, while it comes from several at once.

The caller tells what happened, and then does what `decide` says: it sends requests, and takes back those that are no
longer needed.  It checks every part before it says `arrived`; nothing that a source says is believed beyond that.

    part      a chunk of a blob, or a page of its hash tree (models/core/hash_tree.py); pages come first, from the top
    source    a neighbour that holds some of it, by its node id
    holding   per blob: None for all of it, or a bitmap of chunks, bit i % 8 of byte i // 8 for chunk i; whoever holds
              a chunk can give the pages that it is checked by

Times are monotonic seconds.  `below(n)` draws a number from 0 to n - 1: the order is drawn, so that those who fetch the
same model at the same time get different parts of it and can give them to each other.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from mesh.core.token_bucket import TokenBucket
from models.core.hash_tree import PageId


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a blob: the blob's SHA-256 in hexadecimal, the chunk's number."""

    blob: str
    index: int


@dataclass(frozen=True, slots=True)
class TreePage:
    """A page of a blob's hash tree."""

    blob: str
    level: int
    index: int


Part = Chunk | TreePage
Holding = Mapping[str, bytes | None]


@dataclass(frozen=True)
class WantedBlob:
    """A blob to be fetched, and what of it is here: a bitmap of chunks (as in a holding), and the pages known."""

    sha256: str
    size: int
    have: bytes = b""
    pages: Collection[PageId] = ()


@dataclass(frozen=True)
class Request:
    """Ask this source for this part."""

    source: str
    part: Part


@dataclass(frozen=True)
class Decision:
    """What the caller does now, in this order.

    cancel: requests whose answer is no longer needed; whoever cannot be told may answer all the same.
    requests: to be sent.  dropped: sources that are asked no more for the moment.
    wake_at: when to decide again if nothing happens until then; None while only an event can change anything.
    """

    cancel: tuple[Request, ...] = ()
    requests: tuple[Request, ...] = ()
    dropped: tuple[str, ...] = ()
    wake_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class SourceProgress:
    """What one source contributes."""

    source: str
    bytes_verified: int
    bytes_per_s: float
    in_flight: int
    state: str  # "active", "resting" (dropped, asked again later) or "banned"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far it is.  Bytes are of chunks; eta_s is None while nothing comes."""

    bytes_total: int
    bytes_verified: int
    bytes_wasted: int
    bytes_per_s: float
    eta_s: float | None
    paused: bool
    sources: tuple[SourceProgress, ...]


class Swarm:
    """One transfer's choices."""

    def __init__(
        self, blobs: Sequence[WantedBlob], *, below: Callable[[int], int], limit: TokenBucket | None = None
    ) -> None:
        """limit: bytes that may be asked for, shared by every transfer of the node; its burst is 512 KiB or more."""
        raise NotImplementedError

    @property
    def is_done(self) -> bool:
        """Whether every chunk is here."""
        raise NotImplementedError

    @property
    def sources(self) -> frozenset[str]:
        """Who is known to hold something and is not banned."""
        raise NotImplementedError

    def is_wanted(self, source: str, part: Part) -> bool:
        """Whether a part was asked of this source and is not here yet: only then is it worth checking."""
        raise NotImplementedError

    def source_has(self, source: str, holding: Holding, *, now: float) -> None:
        """Note what a source says it holds, in place of what it said before; one that is banned stays so.

        Bits beyond a blob's chunks and blobs that are not wanted are ignored.
        """
        raise NotImplementedError

    def source_got(self, source: str, chunks: Collection[Chunk], *, now: float) -> None:
        """Note what a source says it holds in addition."""
        raise NotImplementedError

    def gone(self, source: str, *, now: float) -> None:
        """Note that a source cannot be reached; it is asked again once `source_has` says so."""
        raise NotImplementedError

    def arrived(self, source: str, part: Part, *, now: float) -> bool:
        """Note that a part came, was right and is stored; return whether it was still needed."""
        raise NotImplementedError

    def adopted(self, chunks: Collection[Chunk]) -> None:
        """Note that chunks came from elsewhere on this node."""
        raise NotImplementedError

    def corrupt(self, source: str, part: Part, *, now: float) -> None:
        """Note that a part failed its hash: whoever sent it is banned for this transfer."""
        raise NotImplementedError

    def refused(self, source: str, part: Part, *, now: float, busy: bool = False) -> None:
        """Note that a source will not give a part: it does not have it, or is `busy` and may be asked later."""
        raise NotImplementedError

    def failed(self, source: str, part: Part, *, now: float) -> None:
        """Note that a request could not be sent, or that this node could not store what came: as if it was busy."""
        raise NotImplementedError

    def pause(self) -> None:
        """Ask for nothing more; what is on its way is still taken."""
        raise NotImplementedError

    def resume(self) -> None:
        """Ask again."""
        raise NotImplementedError

    def decide(self, *, now: float) -> Decision:
        """Choose what is asked now, and what is let go."""
        raise NotImplementedError

    def progress(self, *, now: float) -> Progress:
        """Say how far it is."""
        raise NotImplementedError

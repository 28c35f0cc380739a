"""What a transfer's choices come to: what to do now, and how far it is."""

from dataclasses import dataclass

from device.core.wanted_parts import Part


@dataclass(frozen=True)
class Request:
    """Ask this source for this part."""

    source: str
    part: Part


@dataclass(frozen=True)
class Decision:
    """What the caller does now.

    requests: to be sent.  dropped: sources that are asked no more for the moment.
    wake_at: when to decide again if nothing happens until then; None while only an event can change anything.
    """

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
    state: str  # "active", "resting" (nothing came from it), "slow" (both are tried again), "gone" or "banned"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far it is.  Bytes are of chunks; eta_s is None while nothing comes."""

    bytes_total: int
    bytes_verified: int
    bytes_wasted: int
    bytes_per_s: float
    eta_s: float | None
    sources: tuple[SourceProgress, ...]

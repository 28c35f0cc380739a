"""An open offer: the words on this node's screen, for how long they count, and who has used them."""

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from mesh.core.pairing import QR_SECRET_BYTES, PairingKey, Tries, choose_words, derive_key, qr_text


@dataclass(frozen=True)
class Offer:
    """What the owner shows to the other owner."""

    words: str
    qr: str
    expires_in_s: float


@dataclass
class OpenOffer:
    """An offer that this node's door answers; the one who has used it may come back until it expires."""

    words: str
    qr: str
    keys: tuple[PairingKey, ...]
    expires_at: float  # monotonic
    tries: Tries = field(default_factory=Tries)
    taken_by: bytes | None = None  # raw id

    @classmethod
    async def make(cls, *, ttl_s: float) -> "OpenOffer":
        """Choose words and a QR secret, and stretch them off the loop."""
        words = choose_words(wordlist(), secrets.token_bytes)
        qr = qr_text(secrets.token_bytes(QR_SECRET_BYTES))
        keys = (await key_of(words), await key_of(qr))
        return cls(words, qr, keys, time.monotonic() + ttl_s)

    @property
    def is_open(self) -> bool:
        """Whether the words still count."""
        return time.monotonic() < self.expires_at

    def is_free_for(self, raw_id: bytes) -> bool:
        """Whether nobody else has used it."""
        return self.taken_by in {None, raw_id}

    def shown(self) -> Offer:
        """Return what the owner sees now."""
        return Offer(self.words, self.qr, max(0.0, self.expires_at - time.monotonic()))


async def key_of(text: str) -> PairingKey:
    """Turn words or a QR text into a key, off the loop.  Errors: WrongWordsError."""
    return await asyncio.to_thread(derive_key, text, wordlist())


@cache
def wordlist() -> tuple[str, ...]:
    """Return the 2048 words of BIP-39's English list, a published constant."""
    return tuple(resources.files("mesh.core").joinpath("wordlist.txt").read_text(encoding="ascii").split())

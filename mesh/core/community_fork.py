r"""A community that begins anew without somebody: the last way out where too many boards are lost to decide anything.

    fork  [[entry...]]

The entries are those of another community's ledger: its genesis, by the same author, whose nonce is the BLAKE2b-128 of
"hearthmesh/fork/1\0", this community and the entries that this one follows, and an admission of each member that may
come along.  It binds nobody: each owner chooses.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from mesh.core import codec
from mesh.core.codec import Item

MAX_COMING: Final = 150  # their admissions fit an entry
MAX_PART_BYTES: Final = 1024
_PURPOSE: Final = b"hearthmesh/fork/1\0"
_NONCE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Fork:
    """A member begins the community anew; `entries` are the new one's, as they are sent."""

    KIND: ClassVar[str] = "fork"
    entries: tuple[bytes, ...]

    def to_items(self) -> list[Item]:
        """Write the body."""
        return [[*self.entries]]


def parse_fork(items: list[Item]) -> Fork | None:
    """Read the body; what is in the entries is looked at by whoever chooses it.  Errors: MalformedError."""
    match items:
        case [entries]:
            parts = codec.short_array(entries, MAX_COMING + 1)
            return Fork(tuple(codec.short_bytes(part, MAX_PART_BYTES) for part in parts))
    return None


def nonce_of(community: bytes, parents: Iterable[bytes]) -> bytes:
    """Return the nonce of a genesis that goes on from these entries of another community."""
    text = b"".join([_PURPOSE, community, *sorted(parents)])
    return hashlib.blake2b(text, digest_size=_NONCE_BYTES).digest()

"""What a voter says of the tree at a decision: a body of ledger entries, and a signature for the note over it.

    checkpoint  [decided(32), size, root(32), signature(64)]

Each decision fixes what the decided entry follows, and that entry (decision 26 of docs/protocol.md); `size` and `root`
are of the tree then, and `signature` is the voter's over the text of the note that says so (notes.py), by which others
can show the checkpoint to people who hold no ledger.
"""

from dataclasses import dataclass
from typing import ClassVar

from mesh.core import codec, crypto, merkle
from mesh.core.codec import Item
from mesh.core.notes import Checkpoint
from mesh.errors import CryptoError

_DECIDED_BYTES = 32


@dataclass(frozen=True, slots=True)
class Attestation:
    """A voter holds all that a decision fixed, and this is its tree."""

    KIND: ClassVar[str] = "checkpoint"
    decided: bytes
    size: int
    root: bytes
    signature: bytes

    @classmethod
    def of(cls, decided: bytes, checkpoint: Checkpoint, seed: bytes) -> "Attestation":
        """Sign the note of a checkpoint."""
        return cls(decided, checkpoint.size, checkpoint.root, crypto.sign_plainly(seed, checkpoint.text.encode()))

    def is_for(self, checkpoint: Checkpoint, *, by: bytes) -> bool:
        """Whether it says this of the tree, and its signature over the note is by this key."""
        if (self.size, self.root) != (checkpoint.size, checkpoint.root):
            return False
        try:
            crypto.verify_plainly(by, self.signature, checkpoint.text.encode())
        except CryptoError:
            return False  # an answer here, not an accident
        return True

    def to_items(self) -> list[Item]:
        """Write the body."""
        return [self.decided, self.size, self.root, self.signature]


def parse_attestation(items: list[Item]) -> Attestation | None:
    """Read the body; the signature is looked at by whoever shows it to others.  Errors: MalformedError."""
    match items:
        case [decided, size, root, signature]:
            return Attestation(
                codec.fixed_bytes(decided, _DECIDED_BYTES),
                codec.unsigned(size, codec.INT_MAX),
                codec.fixed_bytes(root, merkle.HASH_BYTES),
                codec.fixed_bytes(signature, crypto.SIGNATURE_BYTES),
            )
    return None

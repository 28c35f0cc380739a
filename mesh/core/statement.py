"""The identity statement: an Ed25519 key says which X25519 key speaks for it in handshakes."""

from dataclasses import dataclass
from typing import Final

from mesh.core import codec, crypto

_KIND: Final = "identity"


@dataclass(frozen=True, slots=True)
class IdentityStatement:
    """Who a node is: its signing key, its static key, and the first one's signature over both."""

    public: bytes
    static: bytes
    signature: bytes

    @classmethod
    def make(cls, seed: bytes, static: bytes) -> "IdentityStatement":
        """State that this static public key belongs to the signing key of this seed."""
        public = crypto.ed25519_public(seed)
        return cls(public, static, crypto.sign(seed, _KIND, crypto.NO_COMMUNITY, _signed(public, static)))

    @classmethod
    def parse(cls, public: codec.Item, static: codec.Item, signature: codec.Item) -> "IdentityStatement":
        """Take three foreign items as a statement; `verify` is still to be called.  Errors: MalformedError."""
        return cls(
            codec.fixed_bytes(public, crypto.KEY_BYTES),
            codec.fixed_bytes(static, crypto.KEY_BYTES),
            codec.fixed_bytes(signature, crypto.SIGNATURE_BYTES),
        )

    def verify(self) -> None:
        """Check the signature.  Errors: CryptoError."""
        crypto.verify(self.public, self.signature, _KIND, crypto.NO_COMMUNITY, _signed(self.public, self.static))

    @property
    def raw_id(self) -> bytes:
        """The 32 bytes of the node's id."""
        return crypto.raw_id(self.public)

    @property
    def node_id(self) -> str:
        """The node's id as people see it."""
        return crypto.node_id(self.raw_id)


def _signed(public: bytes, static: bytes) -> bytes:
    return codec.encode([public, static])

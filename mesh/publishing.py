"""Signatures that count outside the mesh too: what a node publishes, so that anybody can check it with any library."""

from typing import Final

from mesh.community import CommunityStore
from mesh.core import crypto
from mesh.errors import CryptoError
from mesh.identity import Identity

RELEASE: Final = b"hearthmesh release/1\n"
"""How everything begins that is signed so; nothing else that an identity signs begins like it."""


class Publisher:
    """Signs for one node, and knows whom its community believes."""

    def __init__(self, identity: Identity, store: CommunityStore) -> None:
        self._identity = identity
        self._store = store

    @property
    def public(self) -> bytes:
        """This node's Ed25519 public key."""
        return self._identity.public

    def sign(self, message: bytes) -> bytes:
        """Sign plainly (RFC 8032) what begins with RELEASE.  Errors: BoardChangedError on another board."""
        if not message.startswith(RELEASE):
            raise ValueError("only releases are signed without a community")
        self._store.require_signing()
        return crypto.sign_plainly(self._identity.seed, message)

    def believes(self, public: bytes) -> bool:
        """Whether a key is this node's own, or that of a member whom it does not block."""
        if public == self._identity.public:
            return True
        return any(one.public == public and one.raw_id not in self._store.blocked for one in self._store.others)


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a plain signature holds."""
    try:
        crypto.verify_plainly(public, signature, message)
    except CryptoError:
        return False
    return True

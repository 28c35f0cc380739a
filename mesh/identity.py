"""Who this node is: two secret keys, made on the first start and never replaced silently."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mesh.certificates import write_private
from mesh.core import codec, crypto
from mesh.core.statement import IdentityStatement
from mesh.errors import IdentityDamagedError, PeerMisbehavedError, StorageError

VERSION: Final = 1
MAX_FILE_BYTES: Final = 1024
FINGERPRINT_GROUPS: Final = 5


@dataclass(frozen=True)
class Identity:
    """The Ed25519 seed that signs, the X25519 secret that handshakes, and the statement that joins them."""

    seed: bytes = field(repr=False)
    static: bytes = field(repr=False)
    statement: IdentityStatement

    @classmethod
    def make(cls) -> "Identity":
        """Make new keys, in memory only."""
        seed, static = secrets.token_bytes(crypto.KEY_BYTES), secrets.token_bytes(crypto.KEY_BYTES)
        return cls(seed, static, IdentityStatement.make(seed, crypto.x25519_public(static)))

    @classmethod
    def open(cls, path: Path) -> "Identity":
        """Read the identity, or make it on the first start (atomically, readable by the owner alone).

        Errors: IdentityDamagedError when the file is not one of ours, StorageError.
        """
        try:
            if path.exists():
                return cls._parse(path.read_bytes())
            identity = cls.make()
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(path, identity.to_bytes())
        except OSError as error:
            raise StorageError(f"the identity {path} cannot be read or written: {error.strerror}") from error
        return identity

    @property
    def public(self) -> bytes:
        """The Ed25519 public key."""
        return self.statement.public

    @property
    def raw_id(self) -> bytes:
        """The 32 bytes of the node's id."""
        return self.statement.raw_id

    @property
    def node_id(self) -> str:
        """The node's id as people see it."""
        return self.statement.node_id

    def to_bytes(self) -> bytes:
        """Write the file's content: both secrets."""
        return codec.encode([VERSION, self.seed, self.static, self.statement.signature])

    @classmethod
    def _parse(cls, data: bytes) -> "Identity":
        try:
            match codec.decode_array(data, max_bytes=MAX_FILE_BYTES):
                case [version, bytes(seed), bytes(static), signature] if version == VERSION:
                    public = crypto.ed25519_public(codec.fixed_bytes(seed, crypto.KEY_BYTES))
                    key = crypto.x25519_public(codec.fixed_bytes(static, crypto.KEY_BYTES))
                    statement = IdentityStatement.parse(public, key, signature)
                    statement.verify()
                    return cls(seed, static, statement)
        except PeerMisbehavedError as error:
            raise IdentityDamagedError(f"the identity file is damaged: {error}") from error
        raise IdentityDamagedError("the identity file is of another version")


def fingerprint(node_id: str) -> str:
    """Write the beginning of an id for two people to compare: five groups of four characters, 100 bits."""
    return " ".join(node_id[4 * group : 4 * group + 4] for group in range(FINGERPRINT_GROUPS))

"""What a model is: a canonical list of its source blobs, whose SHA-256 is the model's digest everywhere.

The bytes are canonical JSON (sorted keys, ASCII, no spaces), so that the same blobs give the same digest on
every node.  Names, licences and converted graphs are no part of it.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from models.core import canonical_json
from models.errors import InvalidManifestError

FORMAT: Final = "hearthmesh-model/1"
GGUF: Final = "gguf"  # weights, vocabulary and metadata
TEMPLATE: Final = "template"  # jinja2 source that replaces the GGUF's own chat template
ROLES: Final = (GGUF, TEMPLATE)
MAX_MANIFEST_BYTES: Final = 4096
MAX_BLOB_BYTES: Final = 2**43
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def is_sha256(text: object) -> bool:
    """Whether `text` is a SHA-256 as we write it: 64 lowercase hexadecimal digits."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


@dataclass(frozen=True)
class Blob:
    """One file a model is made of: what it is for, its SHA-256 in hexadecimal, its size in bytes."""

    role: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise InvalidManifestError(f"a blob's role is one of {', '.join(ROLES)}")
        if not is_sha256(self.sha256):
            raise InvalidManifestError("a blob's sha256 is 64 lowercase hexadecimal digits")
        if type(self.size) is not int or not 0 <= self.size <= MAX_BLOB_BYTES:
            raise InvalidManifestError("a blob's size is out of range")


@dataclass(frozen=True)
class Manifest:
    """The blobs of one model, sorted by role, each role once, a GGUF among them.  Raises InvalidManifestError."""

    blobs: tuple[Blob, ...]

    def __post_init__(self) -> None:
        roles = [blob.role for blob in self.blobs]
        if roles != sorted(set(roles)) or GGUF not in roles:
            raise InvalidManifestError("a manifest names a gguf and each role at most once, in order")

    @classmethod
    def of(cls, blobs: Iterable[Blob]) -> "Manifest":
        """Build a manifest from blobs in any order."""
        return cls(tuple(sorted(blobs, key=lambda blob: blob.role)))

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Read canonical bytes; anything else, even the same content written differently, is refused."""
        try:
            fields = canonical_json.loads(data, limit_bytes=MAX_MANIFEST_BYTES)
        except ValueError as error:
            raise InvalidManifestError(f"a manifest that cannot be read: {error}") from error
        match fields:
            case {"format": str(written), "blobs": list(items), **rest} if written == FORMAT and not rest:
                return cls(tuple(map(_blob, items)))
        raise InvalidManifestError(f"a manifest that is not {FORMAT}")

    def to_bytes(self) -> bytes:
        """Write the canonical bytes."""
        return canonical_json.dumps(self.to_fields())

    def to_fields(self) -> dict[str, Any]:
        """Return the JSON object."""
        blobs = [{"role": blob.role, "sha256": blob.sha256, "size": blob.size} for blob in self.blobs]
        return {"blobs": blobs, "format": FORMAT}

    @cached_property
    def digest(self) -> str:
        """The model's digest: SHA-256 of the canonical bytes, hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """What the blobs take on a disk."""
        return sum(blob.size for blob in self.blobs)

    def blob(self, role: str) -> Blob | None:
        """Return the blob that plays `role`, if there is one."""
        return next((blob for blob in self.blobs if blob.role == role), None)

    @property
    def gguf(self) -> Blob:
        """The weights."""
        return next(blob for blob in self.blobs if blob.role == GGUF)


def _blob(item: object) -> Blob:
    match item:
        case {"role": str(role), "sha256": str(sha256), "size": int(size), **rest} if not rest:
            return Blob(role, sha256, size)
    raise InvalidManifestError("a blob of the manifest is malformed")

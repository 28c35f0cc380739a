"""What a publisher signs when a model goes from node to node: its manifest, the hash trees of its blobs, its card.

The bytes are canonical JSON:

    {"card":{…},"format":"hearthmesh-release/1","manifest":{…},"publisher":"<Ed25519 public key, hexadecimal>",
     "signature":"<hexadecimal>","trees":{"<SHA-256 of a blob>":"<root of its hash tree>",…}}

The signature is plain Ed25519 (RFC 8032) over PREFIX and the canonical bytes of the object without "signature",
so that anybody can check it with any library.  Who may be believed is for the caller to say: a release only
proves that `publisher` said all this.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from models.core import canonical_json
from models.core.card import Card
from models.core.manifest import Manifest, is_sha256
from models.errors import InvalidCardError, InvalidManifestError, InvalidReleaseError

FORMAT: Final = "hearthmesh-release/1"
PREFIX: Final = b"hearthmesh release/1\n"
MAX_RELEASE_BYTES: Final = 64 * 1024
PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

Sign = Callable[[bytes], bytes]
"""The publisher's signature of a message."""

Verify = Callable[[bytes, bytes, bytes], bool]
"""Whether, by the first argument (a public key), the second is a signature of the third."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A model as its publisher describes it.  `make` and `parse` alone build one.

    trees: blob's SHA-256 and root of its hash tree, hexadecimal, one pair for each blob, in order.
    """

    manifest: Manifest
    trees: tuple[tuple[str, str], ...]
    card: Card
    publisher: bytes
    signature: bytes

    @classmethod
    def make(
        cls, manifest: Manifest, trees: Mapping[str, str], card: Card, publisher: bytes, *, sign: Sign
    ) -> "Release":
        """Sign a release.  Raises InvalidReleaseError for trees that are not the blobs', or a wrong key."""
        unsigned = cls(
            manifest=manifest, trees=tuple(sorted(trees.items())), card=card, publisher=publisher, signature=b""
        )
        _check(unsigned)
        release = replace(unsigned, signature=sign(unsigned.message()))
        _check_signature(release)
        return release

    @classmethod
    def parse(cls, data: bytes, *, verify: Verify) -> "Release":
        """Read canonical bytes that `publisher` signed; anything else is refused.  Raises InvalidReleaseError."""
        try:
            fields = canonical_json.loads(data, limit_bytes=MAX_RELEASE_BYTES)
            release = _read(fields)
        except ValueError as error:
            raise InvalidReleaseError(f"a release that cannot be read: {error}") from error
        except (InvalidManifestError, InvalidCardError) as error:
            raise InvalidReleaseError(f"a release that is malformed: {error}") from error
        _check(release)
        _check_signature(release)
        if not verify(release.publisher, release.signature, release.message()):
            raise InvalidReleaseError("a release whose signature is not its publisher's")
        return release

    @property
    def digest(self) -> str:
        """The model's digest."""
        return self.manifest.digest

    def tree(self, sha256: str) -> str:
        """Root of the hash tree of one of the manifest's blobs, hexadecimal."""
        return dict(self.trees)[sha256]

    def message(self) -> bytes:
        """What is signed."""
        return PREFIX + canonical_json.dumps(self._fields())

    def to_bytes(self) -> bytes:
        """Write the canonical bytes."""
        return canonical_json.dumps(self._fields() | {"signature": self.signature.hex()})

    def _fields(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "manifest": self.manifest.to_fields(),
            "trees": dict(self.trees),
            "card": self.card.to_fields(),
            "publisher": self.publisher.hex(),
        }


def _read(fields: object) -> Release:
    match fields:
        case {
            "format": str(written),
            "manifest": dict(manifest),
            "trees": dict(trees),
            "card": dict(card),
            "publisher": str(publisher),
            "signature": str(signature),
            **rest,
        } if written == FORMAT and not rest:
            return Release(
                manifest=Manifest.parse(canonical_json.dumps(manifest)),
                trees=tuple(sorted(trees.items())),
                card=Card.from_fields(card),
                publisher=_bytes("publisher", publisher),
                signature=_bytes("signature", signature),
            )
        case {"format": str(written), **rest} if written == FORMAT and "signature" not in rest:
            raise InvalidReleaseError("a release that nobody signed")
    raise InvalidReleaseError(f"a release that is not {FORMAT}")


def _bytes(where: str, text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if found.hex() != text:  # spaces and capitals are not canonical
        raise InvalidReleaseError(f"a release whose {where} is not written in lowercase hexadecimal digits")
    return found


def _check(release: Release) -> None:
    """Hold what is signed against itself.  Raises InvalidReleaseError."""
    if len(release.publisher) != PUBLIC_KEY_BYTES:
        raise InvalidReleaseError(f"a release by a public key of {len(release.publisher)} bytes")
    if [sha256 for sha256, _ in release.trees] != sorted({blob.sha256 for blob in release.manifest.blobs}):
        raise InvalidReleaseError("a release that has not one hash tree for each blob of its manifest")
    if not all(is_sha256(root) for _, root in release.trees):
        raise InvalidReleaseError("a release with a hash tree whose root is not 64 lowercase hexadecimal digits")


def _check_signature(release: Release) -> None:
    if len(release.signature) != SIGNATURE_BYTES:
        raise InvalidReleaseError(f"a release with a signature of {len(release.signature)} bytes")

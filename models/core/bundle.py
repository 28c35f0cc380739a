"""What a bundle is: one model in one file, to be carried on a stick, as bytes that depend on nothing but the model.

    bundle   = head ‖ document… ‖ blob… ‖ two zero blocks        an uncompressed POSIX (ustar) archive
    head     = "hearthmesh-bundle.json": canonical JSON, as of a manifest, that says what follows and what it hashes to
    document = "card.json", "release.json": opaque here, each there or not
    blob     = "blobs/sha256-HEX": the files that the manifest names, each once

Any tar program can read it.  This reader takes nothing but what the writer writes: each member's header must be, byte
for byte, the one that its name and size have, so that links, devices, paths that lead elsewhere, sparse files, extended
headers and second names are no cases to think of.  A blob of 8 GiB or more has its size in GNU's base-256 form, which
ustar has no digits for.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from models.core.manifest import Manifest, is_sha256
from models.errors import InvalidBundleError, InvalidManifestError

FORMAT: Final = "hearthmesh-bundle/1"
HEAD: Final = "hearthmesh-bundle.json"
CARD: Final = "card.json"
RELEASE: Final = "release.json"
DOCUMENTS: Final = (CARD, RELEASE)
BLOCK_BYTES: Final = tarfile.BLOCKSIZE
END: Final = bytes(2 * BLOCK_BYTES)
MODE: Final = 0o644
MAX_HEAD_BYTES: Final = 32 * 1024
MAX_DOCUMENT_BYTES: Final = 64 * 1024
MAX_TEXT_CHARACTERS: Final = 2048  # of a licence, a description, a source
MAX_OCTAL_BYTES: Final = 8**11 - 1  # that ustar's size field can say
MAX_SHOWN_CHARACTERS: Final = 60
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)  # of a model, as the store has it
_KINDS: Final[Mapping[bytes, str]] = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.DIRTYPE: "a directory",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.GNUTYPE_LONGNAME: "an extended header",
    tarfile.GNUTYPE_LONGLINK: "an extended header",
    tarfile.XHDTYPE: "an extended header",
    tarfile.XGLTYPE: "an extended header",
    tarfile.SOLARIS_XHDTYPE: "an extended header",
}


@dataclass(frozen=True)
class Member:
    """A file of the archive after the head: its name, its SHA-256 in hexadecimal, its size in bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The head of a bundle, and so its whole layout.

    name: what the model was called where it comes from; licence, description, source: what was said of it there.
    Raises InvalidBundleError for what no bundle says.
    """

    name: str
    manifest: Manifest
    licence: str
    description: str
    source: str
    documents: tuple[Member, ...] = ()

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise InvalidBundleError("the bundle has no name for its model")
        if not all(map(_is_short_text, (self.licence, self.description, self.source))):
            raise InvalidBundleError(f"a text about the model: up to {MAX_TEXT_CHARACTERS} characters of Unicode")
        names = [one.name for one in self.documents]
        if names != [name for name in DOCUMENTS if name in names]:
            raise InvalidBundleError(f"beside a model a bundle has {' and '.join(DOCUMENTS)}, each once at most")
        for one in self.documents:
            if not is_sha256(one.sha256) or not 0 < one.size <= MAX_DOCUMENT_BYTES:
                raise InvalidBundleError(f"{one.name} of the bundle has {one.size} bytes or an impossible checksum")
        if len({one.name for one in self.blobs}) < len(self.blobs):
            raise InvalidBundleError("the bundle gives one file two sizes")

    @property
    def blobs(self) -> tuple[Member, ...]:
        """The members that the model is made of; one that plays two roles stands there once."""
        blobs = {(blob.sha256, blob.size) for blob in self.manifest.blobs}
        return tuple(Member(f"blobs/sha256-{sha256}", sha256, size) for sha256, size in sorted(blobs))

    @property
    def size_bytes(self) -> int:
        """What the whole file has."""
        sizes = [len(self.to_bytes()), *(one.size for one in (*self.documents, *self.blobs))]
        return sum(BLOCK_BYTES + size + padding(size) for size in sizes) + len(END)

    def to_bytes(self) -> bytes:
        """Write the head: canonical JSON with the SHA-256 of itself without that."""
        fields: dict[str, object] = {
            "description": self.description,
            "documents": [{"name": one.name, "sha256": one.sha256, "size": one.size} for one in self.documents],
            "format": FORMAT,
            "licence": self.licence,
            "manifest": json.loads(self.manifest.to_bytes()),
            "name": self.name,
            "source": self.source,
        }
        return _canonical(fields | {"checksum": hashlib.sha256(_canonical(fields)).hexdigest()})

    @classmethod
    def parse(cls, data: bytes) -> "Bundle":
        """Read a head.  Raises InvalidBundleError, also for one that has changed by a single bit."""
        try:
            fields: object = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidBundleError("the bundle's head is no JSON") from error
        match fields:
            case {
                "format": str(written),
                "name": str(name),
                "manifest": dict(manifest),
                "licence": str(licence),
                "description": str(description),
                "source": str(source),
                "documents": list(documents),
            } if written == FORMAT:
                bundle = cls(
                    name=name,
                    manifest=_manifest(manifest),
                    licence=licence,
                    description=description,
                    source=source,
                    documents=tuple(map(_document, documents)),
                )
            case {"format": str(written)} if written != FORMAT:
                raise InvalidBundleError(f"a bundle of the format {_shown(written)}; this version reads {FORMAT}")
            case _:
                raise InvalidBundleError("the bundle's head lacks something")
        if bundle.to_bytes() != data:
            raise InvalidBundleError("the bundle's head has been altered")
        return bundle


def header(name: str, size: int) -> bytes:
    """Give the block that stands before a member: a plain file, nobody's, of no time."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, MODE
    return info.tobuf(tarfile.USTAR_FORMAT if size <= MAX_OCTAL_BYTES else tarfile.GNU_FORMAT)


def padding(size: int) -> int:
    """Give how many zero bytes follow a member of that size."""
    return -size % BLOCK_BYTES


def head_size(block: bytes) -> int:
    """Read the first block of a file, and give the size of the bundle's head.  Raises InvalidBundleError."""
    info = _parsed(block, HEAD)
    if info.name != HEAD:
        raise InvalidBundleError(f"no bundle: it begins with {_shown(info.name)}, not with {HEAD}")
    if not 0 < info.size <= MAX_HEAD_BYTES:
        raise InvalidBundleError(f"the bundle's head has {info.size} bytes; up to {MAX_HEAD_BYTES} are read")
    require_header(block, HEAD, info.size)
    return info.size


def require_header(block: bytes, name: str, size: int) -> None:
    """Refuse any block but the one before that member.  Raises InvalidBundleError, which says what is there."""
    if block == header(name, size):
        return
    info = _parsed(block, name)
    kind = _KINDS.get(info.type, "")
    if kind:
        raise InvalidBundleError(f"the bundle has {kind} ({_shown(info.name)}) where {name} belongs")
    if (info.name, info.size) != (name, size):
        there = f"{_shown(info.name)} of {info.size} bytes"
        raise InvalidBundleError(f"the bundle has {there} where {name} of {size} bytes belongs")
    raise InvalidBundleError(f"the header of {name} is not as a bundle's writer writes it")


def require_zeros(data: bytes) -> None:
    """Refuse anything but zeros where only they belong.  Raises InvalidBundleError."""
    if any(data):
        raise InvalidBundleError("the bundle has something between its members, or after the last one")


def documents_of(texts: Mapping[str, bytes]) -> tuple[Member, ...]:
    """Describe documents by name, in their order."""
    present = [name for name in DOCUMENTS if name in texts]
    return tuple(Member(name, hashlib.sha256(texts[name]).hexdigest(), len(texts[name])) for name in present)


def _parsed(block: bytes, expected: str) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except tarfile.HeaderError as error:
        raise InvalidBundleError(f"no bundle, or a damaged one: there is no header where {expected} belongs") from error


def _canonical(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")


def _manifest(fields: Mapping[str, object]) -> Manifest:
    try:
        return Manifest.parse(_canonical(fields))
    except (InvalidManifestError, RecursionError, ValueError) as error:
        raise InvalidBundleError(f"the bundle's manifest: {error}") from error


def _document(item: object) -> Member:
    match item:
        case {"name": str(name), "sha256": str(sha256), "size": int(size)} if type(size) is int:
            return Member(name, sha256, size)
    raise InvalidBundleError("a document of the bundle is malformed")


def _is_short_text(text: str) -> bool:
    """Whether others can be told it: what is no Unicode (half of a pair) cannot be written."""
    return len(text) <= MAX_TEXT_CHARACTERS and text == text.encode(errors="replace").decode()


def _shown(text: str) -> str:
    """Show what a stranger wrote, in few characters that steer no terminal."""
    return repr("".join(one if one.isprintable() else "?" for one in text[:MAX_SHOWN_CHARACTERS]))

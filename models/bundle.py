"""Bundles: a model of the store as one file, and back; see models.core.bundle for the format.

Both directions stream, a megabyte at a time, and block: they belong in a thread.  What is written has been compared
with its SHA-256 before its last piece is given away; what is read is installed only when all of it has been compared.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Final

from models.core.bundle import (
    BLOCK_BYTES,
    CARD,
    END,
    HEAD,
    RELEASE,
    Bundle,
    Member,
    documents_of,
    head_size,
    header,
    padding,
    require_header,
    require_zeros,
)
from models.core.manifest import Blob, Manifest
from models.errors import ChecksumMismatchError, DamagedModelError, InvalidBundleError, NameTakenError
from models.files import CHUNK_BYTES, BytesDone, Source, open_regular, require_space
from models.store import Details, ModelStore, StoredModel, require_name

SHOWN_DIGITS: Final = 8


def bundle_of(model: StoredModel, documents: Mapping[str, bytes]) -> Bundle:
    """Describe a model of the store as a bundle.  Raises InvalidBundleError for documents that are too large."""
    return Bundle(
        name=model.name,
        manifest=model.manifest,
        licence=model.details.licence,
        description=model.details.description,
        source=model.details.source,
        documents=documents_of(documents),
    )


def bundle_pieces(bundle: Bundle, store: ModelStore, documents: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yield the bytes of a bundle, `bundle.size_bytes` in all, in pieces of at most CHUNK_BYTES and a block.

    Raises DamagedModelError for a blob that has changed on the disk, CorruptStoreError for one that is not there: the
    bundle is never complete then.
    """
    head = bundle.to_bytes()
    yield header(HEAD, len(head)) + head + bytes(padding(len(head)))
    for one in bundle.documents:
        yield header(one.name, one.size) + documents[one.name] + bytes(padding(one.size))
    for one in bundle.blobs:
        yield header(one.name, one.size)
        yield from _blob_pieces(one, store)
    yield END


def _blob_pieces(member: Member, store: ModelStore) -> Iterator[bytes]:
    digest, left = hashlib.sha256(), member.size
    with open_regular(store.blob_path(member.sha256), size=member.size) as file:
        while left:
            piece = file.read(min(CHUNK_BYTES, left))
            left -= len(piece)
            digest.update(piece)
            if not piece or (not left and digest.hexdigest() != member.sha256):
                raise DamagedModelError(f"the blob {member.sha256[:12]} has changed on the disk")
            yield piece if left else piece + bytes(padding(member.size))


class BundleReader:
    """A bundle that is being read from a source, which is read to its end and never sought in.

    bundle: what its head says.  size: of the source in bytes, where that is known: a cut one is refused at once.
    `done` hears the bytes read so far.  Raises InvalidBundleError for what is no bundle.
    """

    def __init__(self, source: Source, size: int = 0, *, done: BytesDone = lambda _: None) -> None:
        self._source = source
        self._done = done
        self._read = 0
        self.bundle = Bundle.parse(self._document(head_size(self._exactly(BLOCK_BYTES))))
        if size not in (0, self.bundle.size_bytes):
            raise InvalidBundleError(f"the bundle has {size} bytes, and should have {self.bundle.size_bytes}")

    def install(self, store: ModelStore, *, name: str = "", done: BytesDone = lambda _: None) -> StoredModel:
        """Read the rest, and install the model under `name`, or under the bundle's own name for it.

        A blob that is here already is compared all the same.  Raises InvalidBundleError, NameTakenError,
        InvalidRequestError for a name that is none, NotEnoughSpaceError, DiskFullError, StoreWriteError; in every case
        the store is as it was.
        """
        self._done = done
        bundle, name = self.bundle, require_name(name or self.bundle.name)
        require_free(store, name, bundle.manifest)
        require_space(store.root, sum(blob.size for blob in missing_blobs(store, bundle.manifest)))
        documents = {one.name: self._checked_document(one) for one in bundle.documents}
        if RELEASE in documents:  # it holds the publisher's card; the exporting owner's is not for this one to sign
            documents.pop(CARD, None)
        roles = {blob.sha256: blob for blob in bundle.manifest.blobs}
        details = Details(licence=bundle.licence, description=bundle.description, source=bundle.source)
        try:
            for member in bundle.blobs:
                self._blob(member, roles[member.sha256], store)
            self._end()
            store.keep_documents(bundle.manifest.digest, documents)  # before the name: all of it is here, or nothing
            return store.install(name, bundle.manifest, details)
        except BaseException:
            store.abandon(bundle.manifest.blobs)
            raise

    def some(self, size: int) -> bytes:
        """Give at least one of the next `size` bytes.  Raises InvalidBundleError at the end of the source."""
        piece = self._source.read(size)
        if not piece:
            raise InvalidBundleError(f"the bundle is cut: it ends after {self._read} bytes")
        self._read += len(piece)
        self._done(self._read)
        return piece

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            data += self.some(size - len(data))
        return bytes(data)

    def _document(self, size: int) -> bytes:
        data = self._exactly(size)
        require_zeros(self._exactly(padding(size)))
        return data

    def _checked_document(self, member: Member) -> bytes:
        require_header(self._exactly(BLOCK_BYTES), member.name, member.size)
        data = self._document(member.size)
        if hashlib.sha256(data).hexdigest() != member.sha256:
            raise _altered(member)
        return data

    def _blob(self, member: Member, blob: Blob, store: ModelStore) -> None:
        require_header(self._exactly(BLOCK_BYTES), member.name, member.size)
        content = _Content(self, member.size)
        if store.has(blob):
            _compare(content, member)
        try:
            store.add(content, blob)  # hashes what it reads, which is nothing where it is here already
        except ChecksumMismatchError as error:
            raise _altered(member) from error
        require_zeros(self._exactly(padding(member.size)))

    def _end(self) -> None:
        require_zeros(self._exactly(len(END)))
        if self._source.read(1):
            raise InvalidBundleError("something follows the bundle")


class _Content:
    """The bytes of one member as something to read, with an end."""

    def __init__(self, reader: BundleReader, size: int) -> None:
        self._reader = reader
        self._left = size

    def read(self, size: int, /) -> bytes:
        """Give the next bytes; nothing at the end."""
        if not self._left:
            return b""
        piece = self._reader.some(min(size, self._left))
        self._left -= len(piece)
        return piece


def _compare(content: _Content, member: Member) -> None:
    digest = hashlib.sha256()
    while piece := content.read(CHUNK_BYTES):
        digest.update(piece)
    if digest.hexdigest() != member.sha256:
        raise _altered(member)


def _altered(member: Member) -> InvalidBundleError:
    return InvalidBundleError(f"{member.name} of the bundle has been altered")


def require_free(store: ModelStore, name: str, manifest: Manifest) -> None:
    """Refuse a name that another model has here.  Raises NameTakenError."""
    other = next((model for model in store.models() if model.name == name), None)
    if other is not None and other.manifest != manifest:
        digests = f"{other.digest[:SHOWN_DIGITS]} here, {manifest.digest[:SHOWN_DIGITS]} in the bundle"
        raise NameTakenError(f"{name} is another model here ({digests})")


def missing_blobs(store: ModelStore, manifest: Manifest) -> tuple[Blob, ...]:
    """Give the blobs of a model that are not here."""
    return tuple(blob for blob in manifest.blobs if not store.has(blob))

"""The models this node holds, content-addressed on disk.

    blobs/sha256-HEX         source files, named by their SHA-256
    trees/sha256-HEX         their hash trees, for whoever fetches them from here: models/blob_trees.py
    manifests/DIGEST.json    which blobs make a model; DIGEST is the manifest's own SHA-256
    names/NAME.json          what the owner calls it, its licence and where it came from
    cards/DIGEST.json        what people should know of it, where that is known; opaque here, as is
    releases/DIGEST.json     what its publisher signed, where somebody did
    aside/sha256-HEX         blobs that were found damaged, until they are repaired or nobody needs them

They are written in this order, each atomically, and removed in the opposite one: after a power cut at any
point every name leads to a whole model.  Methods block; copying belongs in a thread.  One process at a time
writes a store (the daemon); its threads may share the object.
"""

import hashlib
import io
import json
import logging
import os
import re
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.core.bundle import CARD, MAX_DOCUMENT_BYTES, RELEASE
from models.core.manifest import MAX_MANIFEST_BYTES, Blob, Manifest, is_sha256
from models.errors import (
    AmbiguousModelError,
    ChecksumMismatchError,
    CorruptStoreError,
    DamagedModelError,
    InvalidManifestError,
    InvalidRequestError,
    ModelNotFoundError,
)
from models.files import (
    BytesDone,
    Source,
    copy_verified,
    open_regular,
    sync_directory,
    write_atomically,
    writing,
)

MIN_PREFIX: Final = 4
MAX_NAME_FILE_BYTES: Final = 64 * 1024
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Details:
    """What is known of a model besides its content; no part of its digest."""

    licence: str
    description: str
    source: str


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """A model that is here, whole, under a name."""

    name: str
    manifest: Manifest
    details: Details

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest: the same on every node that holds this model."""
        return self.manifest.digest

    @property
    def size_bytes(self) -> int:
        """What its source files take on the disk."""
        return self.manifest.size_bytes

    @property
    def licence(self) -> str:
        """SPDX expression, or "unknown"."""
        return self.details.licence

    @property
    def description(self) -> str:
        """One sentence for people."""
        return self.details.description


def require_name(name: str) -> str:
    """Return `name` if a model may be called so.  Raises InvalidRequestError."""
    if _NAME.fullmatch(name) is None:
        raise InvalidRequestError("name: up to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit")
    return name


class ModelStore:
    """A directory of models.  Nothing is created until something is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs, self._manifests, self._names = root / "blobs", root / "manifests", root / "names"
        self._trees = root / "trees"
        self._aside = root / "aside"
        self._documents = {CARD: root / "cards", RELEASE: root / "releases"}
        self._lock = threading.Lock()
        self._arriving: set[str] = set()  # blobs that no name mentions yet: not garbage

    def models(self) -> tuple[StoredModel, ...]:
        """List the models by name; what cannot be read is left out and logged."""
        found = []
        for path in self._name_files():
            try:
                found.append(self._read(path))
            except CorruptStoreError as error:
                _log.warning("left out of the list of models: %s", error)
        return tuple(found)

    def find(self, key: str) -> StoredModel:
        """Look a model up by name, digest or an unambiguous beginning of its digest (4 digits or more).

        Raises ModelNotFoundError, AmbiguousModelError.
        """
        if _NAME.fullmatch(key) and (path := self._name_file(key)).exists():
            return self._read(path)
        matching = [model for model in self.models() if len(key) >= MIN_PREFIX and model.digest.startswith(key)]
        if not matching:
            raise ModelNotFoundError(f"no model {key!r} here")
        if len({model.digest for model in matching}) > 1:
            raise AmbiguousModelError(f"{key} could be {', '.join(model.name for model in matching)}")
        return matching[0]

    def path(self, blob: Blob) -> Path:
        """Return where a blob lies, after looking that it is a plain file of its size.

        Raises CorruptStoreError; DamagedModelError for one that was set aside.
        """
        path = self.blob_path(blob.sha256)
        if not path.exists() and self.aside_path(blob.sha256).exists():
            raise DamagedModelError(f"the blob {blob.sha256[:12]} was found damaged")
        open_regular(path, size=blob.size).close()
        return path

    def has(self, blob: Blob) -> bool:
        """Whether a blob is here, as far as its size tells."""
        with suppress(CorruptStoreError):
            self.path(blob)
            return True
        return False

    def is_whole(self, model: StoredModel) -> bool:
        """Whether everything that a model is made of is here, as far as sizes tell."""
        return all(map(self.has, model.manifest.blobs))

    def aside_path(self, sha256: str) -> Path:
        """Return where a blob lies that was found damaged."""
        return self._aside / f"sha256-{sha256}"

    def set_aside(self, sha256: str) -> None:
        """Take a damaged blob out of use; it is kept for whoever repairs it.  Raises StoreWriteError."""
        self._move(self.blob_path(sha256), self.aside_path(sha256))

    def put_back(self, sha256: str) -> None:
        """Take a blob into use again that was set aside and has been found sound.  Raises StoreWriteError."""
        self._move(self.aside_path(sha256), self.blob_path(sha256))

    def blob_path(self, sha256: str) -> Path:
        """Return where a blob lies or would lie."""
        return self._blobs / f"sha256-{sha256}"

    def tree_path(self, sha256: str) -> Path:
        """Return where the hash tree of a blob lies or would lie."""
        return self._trees / f"sha256-{sha256}"

    def read(self, blob: Blob) -> bytes:
        """Read a small blob and check it.  Raises CorruptStoreError."""
        with open_regular(self.blob_path(blob.sha256), size=blob.size) as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != blob.sha256:
            raise CorruptStoreError(f"blob {blob.sha256[:12]} has changed on the disk")
        return data

    def add(self, source: Source, blob: Blob, *, done: BytesDone = lambda _: None) -> None:
        """Copy a blob into the store, checked on the way; one that is there already is not copied again.

        It stays until `install` names it or the process ends without.  Raises ChecksumMismatchError,
        DiskFullError, StoreWriteError.
        """
        with self._lock:
            self._arriving.add(blob.sha256)
        try:
            with suppress(CorruptStoreError):
                self.path(blob)
                return
            copy_verified(source, self.blob_path(blob.sha256), sha256=blob.sha256, size=blob.size, done=done)
        except BaseException:
            with self._lock:
                self._arriving.discard(blob.sha256)
            raise

    def expect(self, blobs: Iterable[Blob]) -> None:
        """Keep blobs that are here or will come, named or not, until `install` names them or `abandon` is called."""
        with self._lock:
            self._arriving.update(blob.sha256 for blob in blobs)

    def abandon(self, blobs: Iterable[Blob]) -> None:
        """Give up blobs that were expected or added and will not be named: those that no model needs are deleted."""
        with self._lock:
            self._arriving.difference_update(blob.sha256 for blob in blobs)
        self.collect()

    def take(self, file: Path, blob: Blob, *, sha256: str) -> None:
        """Move a file on the same disk into the store as a blob.

        sha256: what its content was found to be, in hexadecimal; the file is not read again.  It stays until `install`
        names it or the process ends without.  Raises ChecksumMismatchError when that is not the blob and
        CorruptStoreError when it is no plain file of its size, and `file` stays where it is; StoreWriteError.
        """
        with open_regular(file, size=blob.size) as content, writing(file):
            os.fsync(content.fileno())
        if sha256 != blob.sha256:
            raise ChecksumMismatchError(f"{file.name}: what arrived is not the file that was promised")
        self.expect([blob])
        target = self.blob_path(blob.sha256)
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
            sync_directory(target.parent)
            sync_directory(file.parent)

    def add_text(self, role: str, text: str) -> Blob:
        """Store a small text as a blob and return what a manifest says of it."""
        data = text.encode()
        blob = Blob(role, hashlib.sha256(data).hexdigest(), len(data))
        self.add(io.BytesIO(data), blob)
        return blob

    def install(self, name: str, manifest: Manifest, details: Details) -> StoredModel:
        """Give the model made of blobs that are here a name; a model of that name is replaced.

        Raises CorruptStoreError when a blob is missing, InvalidRequestError for a bad name, DiskFullError,
        StoreWriteError.
        """
        require_name(name)
        with self._lock:
            for blob in manifest.blobs:
                self.path(blob)
            write_atomically(self._manifests / f"{manifest.digest}.json", manifest.to_bytes())
            fields = {
                "digest": manifest.digest,
                "licence": details.licence,
                "description": details.description,
                "source": details.source,
            }
            write_atomically(self._name_file(name), json.dumps(fields, indent=1, sort_keys=True).encode())
            self._arriving.difference_update(blob.sha256 for blob in manifest.blobs)
        self.collect()
        return self.find(name)

    def document_path(self, name: str, digest: str) -> Path:
        """Return where the CARD or the RELEASE of a model lies, whether there is one or not."""
        return self._documents[name] / f"{digest}.json"

    def documents(self, digest: str) -> dict[str, bytes]:
        """Read what lies beside a model, by what it is called in a bundle.  Raises CorruptStoreError."""
        found = {}
        for name in self._documents:
            path = self.document_path(name, digest)
            if path.exists():
                with open_regular(path) as file:
                    found[name] = file.read(MAX_DOCUMENT_BYTES + 1)
        return found

    def keep_documents(self, digest: str, documents: Mapping[str, bytes]) -> None:
        """Put documents beside a model that is here or about to be named; those that are there already stay.

        Raises as `install` does.
        """
        for name, text in documents.items():
            path = self.document_path(name, digest)
            if not path.exists():
                write_atomically(path, text)

    def remove(self, name: str) -> None:
        """Forget a name, and what no other name needs.  Raises ModelNotFoundError, StoreWriteError."""
        path = self._name_file(require_name(name))
        with self._lock, writing(path):
            try:
                path.unlink()
            except FileNotFoundError as error:
                raise ModelNotFoundError(f"no model {name!r} here") from error
            sync_directory(self._names)
        self.collect()

    def collect(self) -> None:
        """Delete manifests and blobs that no name leads to, and what a power cut left half-written.

        Nothing is deleted while any name cannot be read: its blobs may be whole.
        """
        with self._lock:
            try:
                named = [self._read(path) for path in self._name_files()]
            except CorruptStoreError as error:
                _log.warning("nothing was collected: %s", error)
                return
            blobs = {blob.sha256 for model in named for blob in model.manifest.blobs} | self._arriving
            keep = {self.blob_path(sha256).name for sha256 in blobs} | {f"{model.digest}.json" for model in named}
            keep |= {f".{name}.arriving" for name in keep}
            keep |= {self._name_file(model.name).name for model in named}
            for directory in (self._names, *self._documents.values(), self._manifests, self._blobs, self._trees):
                _delete_others(directory, keep)
            repaired = {path.name for path in self._aside.glob("sha256-*") if (self._blobs / path.name).exists()}
            _delete_others(self._aside, keep - repaired)

    def _move(self, old: Path, new: Path) -> None:
        with self._lock, writing(new):
            new.parent.mkdir(parents=True, exist_ok=True)
            old.replace(new)
            sync_directory(new.parent)
            sync_directory(old.parent)

    def _name_file(self, name: str) -> Path:
        return self._names / f"{name}.json"

    def _name_files(self) -> list[Path]:
        try:
            return sorted(path for path in self._names.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CorruptStoreError(f"cannot read {self._names}: {error.strerror}") from error

    def _read(self, path: Path) -> StoredModel:
        """Follow a name to its manifest.  Raises CorruptStoreError for anything that is not as it was written."""
        fields = _fields(path)
        match fields:
            case {
                "digest": str(digest),
                "licence": str(licence),
                "description": str(description),
                "source": str(source),
            } if is_sha256(digest) and path.suffix == ".json" and _NAME.fullmatch(path.stem):
                manifest = self._manifest(digest)
            case _:
                raise CorruptStoreError(f"{path} does not name a model")
        details = Details(licence=licence, description=description, source=source)
        return StoredModel(name=path.stem, manifest=manifest, details=details)

    def _manifest(self, digest: str) -> Manifest:
        path = self._manifests / f"{digest}.json"
        with open_regular(path) as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
        if hashlib.sha256(data).hexdigest() != digest:
            raise CorruptStoreError(f"{path} has changed on the disk")
        try:
            return Manifest.parse(data)
        except InvalidManifestError as error:
            raise CorruptStoreError(f"{path}: {error}") from error


def _delete_others(directory: Path, keep: set[str]) -> None:
    with writing(directory), suppress(FileNotFoundError):
        for path in directory.iterdir():
            if path.name not in keep:
                path.unlink()


def _fields(path: Path) -> object:
    with open_regular(path) as file:
        data = file.read(MAX_NAME_FILE_BYTES + 1)
    try:
        return json.loads(data) if len(data) <= MAX_NAME_FILE_BYTES else None
    except (ValueError, RecursionError) as error:
        raise CorruptStoreError(f"{path} is no JSON") from error

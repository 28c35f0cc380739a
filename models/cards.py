"""The cards of the models in a store, kept beside them by digest.

    cards/DIGEST.json       the owner's card of a model
    releases/DIGEST.json    what its publisher signed, a card among it

The owner's card stands before the publisher's; where there is neither, what the store knows of the model makes one.
Methods block for a small file or two; those that only read may be called anywhere.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.card_reading import read_gguf
from models.catalogue import CatalogueEntry
from models.core.bundle import CARD, RELEASE
from models.core.card import MAX_CARD_BYTES, Card, Refusal, line_of, may_share
from models.core.licences import UNKNOWN, from_identifier
from models.core.release import MAX_RELEASE_BYTES, Release, Verify
from models.errors import CorruptStoreError, InvalidCardError, InvalidReleaseError, ModelsError
from models.files import open_regular, write_atomically
from models.store import Details, ModelStore, StoredModel

MAX_READ: Final = 256  # models that are kept in memory
_log = logging.getLogger(__name__)
_Stamp = tuple[int, ...]


@dataclass(frozen=True)
class Said:
    """What is known of a model: its card, and what its publisher signed, where somebody did."""

    card: Card
    release: Release | None = None


class Cards:
    """What is known of the models in a store.  What has been read is kept in memory while the files stay the same."""

    def __init__(self, store: ModelStore, *, verify: Verify) -> None:
        self._store = store
        self._verify = verify
        self._read: dict[str, tuple[_Stamp, Said]] = {}

    def of(self, model: StoredModel) -> Said:
        """Return what is known of a model; a file that cannot be read is left out and logged."""
        path = self._store.document_path
        stamp = (*_stamp(path(CARD, model.digest)), *_stamp(path(RELEASE, model.digest)))
        if (read := self._read.get(model.digest)) is None or read[0] != stamp:
            if len(self._read) >= MAX_READ:
                self._read.clear()
            read = self._read[model.digest] = (stamp, self._look_up(model))
        return read[1]

    def card(self, digest: str) -> Card | None:
        """Return the owner's card.  Raises CorruptStoreError."""
        data = _bytes(self._store.document_path(CARD, digest), MAX_CARD_BYTES)
        try:
            return None if data is None else Card.parse(data)
        except InvalidCardError as error:
            raise _corrupt("card", digest, error) from error

    def release(self, digest: str) -> Release | None:
        """Return what the publisher signed.  Raises CorruptStoreError."""
        data = _bytes(self._store.document_path(RELEASE, digest), MAX_RELEASE_BYTES)
        try:
            release = None if data is None else Release.parse(data, verify=self._verify)
        except InvalidReleaseError as error:
            raise _corrupt("release", digest, error) from error
        if release is not None and release.digest != digest:
            raise _corrupt("release", digest, InvalidReleaseError("it is another model's"))
        return release

    def keep(self, digest: str, card: Card) -> None:
        """Make a card the owner's.  Raises DiskFullError, StoreWriteError."""
        write_atomically(self._store.document_path(CARD, digest), card.to_bytes())

    def keep_release(self, release: Release) -> None:
        """Keep what a publisher signed of a model.  Raises DiskFullError, StoreWriteError."""
        write_atomically(self._store.document_path(RELEASE, release.digest), release.to_bytes())

    def refusal(self, model: StoredModel) -> Refusal | None:
        """Return None where a model may be passed on, and otherwise why not: owner and publisher must both allow it."""
        try:
            card, release = self.card(model.digest), self.release(model.digest)
        except CorruptStoreError as error:
            return Refusal(str(error), error.hint)
        known = [one for one in (release and release.card, card) if one] or [bare_card(model)]
        return next((refusal for one in known if (refusal := may_share(one))), None)

    async def describe(self, model: StoredModel, entry: CatalogueEntry) -> None:
        """Make the card of a model of the catalogue, unless it has one: what the entry says, then what its file says.

        Raises DiskFullError, StoreWriteError.
        """
        try:
            if self.card(model.digest) or self.release(model.digest):
                return
        except CorruptStoreError as error:
            _log.warning("%s; a new card is made", error)
        card = card_of(entry)
        try:
            card = card.filled(await read_gguf(self._store.path(model.manifest.gguf)))
        except ModelsError as error:
            _log.warning("the card of %s has only what the catalogue says: %s", model.name, error)
        self.keep(model.digest, card.filled({"name": model.name}))

    def _look_up(self, model: StoredModel) -> Said:
        release = card = None
        try:
            release = self.release(model.digest)
        except CorruptStoreError as error:
            _log.warning("left out of what is known of %s: %s", model.name, error)
        try:
            card = self.card(model.digest)
        except CorruptStoreError as error:
            _log.warning("left out of what is known of %s: %s", model.name, error)
        return Said(card or (release.card if release else bare_card(model)), release)


def bare_card(model: StoredModel) -> Card:
    """Write down what the store itself knows of a model; everything else is unknown."""
    return Card.of({"name": model.name} | _details(model.details))


def card_of(entry: CatalogueEntry) -> Card:
    """Write down what the catalogue knows of a model; its name may be unknown."""
    details = Details(licence=entry.licence, description=entry.description, source=entry.source)
    return (entry.card or Card(name=UNKNOWN)).filled(_details(details))


def _details(details: Details) -> dict[str, str]:
    return {
        "description": line_of(details.description),
        "licence": from_identifier(details.licence),
        "source": line_of(details.source),
    }


def _stamp(path: Path) -> _Stamp:
    """Return what changes when a file is replaced."""
    try:
        about = path.lstat()
    except OSError:
        return (0,)
    return (about.st_ino, about.st_mtime_ns, about.st_size)


def _bytes(path: Path, limit_bytes: int) -> bytes | None:
    """Read a small file, None where there is none.  Raises CorruptStoreError."""
    if not path.is_symlink() and not path.exists():
        return None
    with open_regular(path) as file:
        return file.read(limit_bytes + 1)


def _corrupt(what: str, digest: str, error: ModelsError) -> CorruptStoreError:
    return CorruptStoreError(f"the {what} of model {digest[:8]} cannot be read: {error}")

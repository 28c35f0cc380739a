"""Releases: what publishers signed, read and judged, and made by this node for models that came without one."""

import threading

from device.errors import NotSharedError, StrangersReleaseError
from device.ports import Publisher
from models.arrivals import Promise
from models.blob_trees import BlobTrees
from models.cards import Cards, bare_card
from models.core.card import Card
from models.core.release import Release, Verify
from models.files import BytesDone
from models.store import StoredModel


class Releases:
    """The releases of the models here.  Methods block, and may be called from several threads."""

    def __init__(self, cards: Cards, trees: BlobTrees, publisher: Publisher, *, verify: Verify) -> None:
        self._cards = cards
        self._trees = trees
        self._publisher = publisher
        self._verify = verify
        self._lock = threading.Lock()  # one hash tree is computed at a time

    def read(self, data: bytes) -> Release:
        """Read a release, whoever signed it.  Raises InvalidReleaseError."""
        return Release.parse(data, verify=self._verify)

    def promise(self, data: bytes) -> Promise:
        """Read a release as arrivals want it.  Raises InvalidReleaseError, InvalidManifestError."""
        release = self.read(data)
        return Promise(release.manifest, {sha256: bytes.fromhex(root) for sha256, root in release.trees})

    def accept(self, data: bytes, *, digest: str) -> Release:
        """Read what a neighbour sent as the release of a model.

        Raises InvalidReleaseError; StrangersReleaseError for another model's, or one that somebody signed whom this
        node's community does not know.
        """
        release = self.read(data)
        if release.digest != digest:
            raise StrangersReleaseError("a neighbour sent the release of another model")
        if not self._publisher.believes(release.publisher):
            raise StrangersReleaseError(f"its release is signed by a stranger ({release.publisher.hex()[:16]})")
        return release

    def of(self, model: StoredModel, *, done: BytesDone = lambda _: None) -> Release:
        """Give the release of a model that is here; the first time this reads all of it, if nobody signed one yet.

        One of this node's own is signed anew where its owner has changed the card since; so is one of somebody who is
        no member, where the owner has written a card: then this node vouches for it.

        done: called with the bytes read; whatever it raises ends the work.
        Raises NotSharedError for a model that may not be passed on, ModelsError, MeshError when it cannot be signed.
        """
        refusal = self._cards.refusal(model)
        if refusal is not None:
            raise NotSharedError(refusal.reason, hint=refusal.hint)
        with self._lock:
            release, card = self._cards.release(model.digest), self._cards.card(model.digest)
            if release is None or (card is not None and self._is_replaced(release, card)):
                card = card or bare_card(model)
                trees = {blob.sha256: self._trees.of(blob, done=done).root.hex() for blob in model.manifest.blobs}
                publisher = self._publisher
                release = Release.make(model.manifest, trees, card, publisher.public, sign=publisher.sign)
                self._cards.keep_release(release)
        return release

    def _is_replaced(self, release: Release, card: Card) -> bool:
        """Whether the owner's card calls for another release, signed by this node."""
        if release.publisher == self._publisher.public:
            return card != release.card
        return not self._publisher.believes(release.publisher)

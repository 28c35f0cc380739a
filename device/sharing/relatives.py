"""What a model that is arriving has in common with those that are here: it is copied on this node, not sent again."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from models.arrivals import Arrival
from models.blob_trees import BlobTrees
from models.core.manifest import Blob
from models.errors import CorruptStoreError
from models.store import StoredModel

MAX_RATIO: Final = 2  # of the sizes of two blobs that may be two versions of one

log = logging.getLogger(__name__)


class Relatives:
    """The models here, as relatives of one that arrives.

    One whose hash tree is not known is read once for it, where it is about as large; the others do not count.
    """

    def __init__(self, trees: BlobTrees, stored: Callable[[], Sequence[StoredModel]]) -> None:
        self._trees = trees
        self._stored = stored

    def adopt(self, arrival: Arrival) -> dict[str, list[int]]:
        """Copy whatever chunks are here into an arrival whose trees are known; return which, by blob.  Blocks.

        Raises DiskFullError, StoreWriteError; a model here that cannot be read is no relative.
        """
        adopted: dict[str, list[int]] = {sha256: [] for sha256 in arrival.blobs}
        for blob in {blob for model in self._stored() for blob in model.manifest.blobs}:
            try:
                if blob.sha256 not in arrival.blobs and self._counts(blob, arrival):
                    for sha256, chunks in arrival.adopt(blob, self._trees).items():
                        adopted[sha256] += chunks
            except CorruptStoreError as error:
                log.warning("nothing is taken over from a model here: %s", error)
        return adopted

    def _counts(self, blob: Blob, arrival: Arrival) -> bool:
        sizes = (one.blob.size for one in arrival.blobs.values())
        alike = any(size / MAX_RATIO < blob.size < size * MAX_RATIO for size in sizes)
        return alike or self._trees.kept(blob) is not None

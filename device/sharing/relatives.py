"""What a model that is arriving has in common with those that are here: it is copied on this node, not sent again."""

from collections.abc import Callable, Sequence

from models.arrivals import Arrival
from models.blob_trees import BlobTrees
from models.errors import CorruptStoreError
from models.files import open_regular
from models.store import ModelStore, StoredModel


class Relatives:
    """The models here, as relatives of one that arrives; those whose hash trees are known already count."""

    def __init__(self, store: ModelStore, trees: BlobTrees, stored: Callable[[], Sequence[StoredModel]]) -> None:
        self._store = store
        self._trees = trees
        self._stored = stored

    def adopt(self, arrival: Arrival) -> dict[str, list[int]]:
        """Copy whatever chunks are here into an arrival whose trees are known; return which, by blob.  Blocks.

        Raises DiskFullError, StoreWriteError; a model here that cannot be read is no relative.
        """
        adopted: dict[str, list[int]] = {sha256: [] for sha256 in arrival.blobs}
        for model in self._stored():
            relative = model.manifest.gguf
            try:
                if not self._trees.is_kept(relative):
                    continue
                tree = self._trees.of(relative)
                with open_regular(self._store.blob_path(relative.sha256), size=relative.size) as file:
                    for sha256, blob in arrival.blobs.items():
                        adopted[sha256] += blob.adopt(file, tree)
            except CorruptStoreError:
                continue
        return adopted

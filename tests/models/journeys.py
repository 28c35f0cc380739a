"""Blobs that travel, for the tests of arrivals: their content, their trees, and what is promised of them."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from models.arrivals import Arrival, Promise
from models.arriving_blob import ArrivingBlob
from models.core.hash_tree import CHUNK_BYTES, KnownTree, leaf_hash
from models.core.manifest import GGUF, Blob, Manifest
from models.store import Details
from tests.models.files import sha256_of

DETAILS = Details(licence="Apache-2.0", description="a test", source="a neighbour")


def noise(size: int, seed: int = 1) -> bytes:
    """Make bytes that repeat nowhere."""
    return random.Random(seed).randbytes(size)  # noqa: S311  content, not a secret


@dataclass(frozen=True)
class Cargo:
    """A blob as its holders have it."""

    data: bytes
    role: str = GGUF

    @cached_property
    def blob(self) -> Blob:
        """What a manifest says of it."""
        return Blob(self.role, sha256_of(self.data), len(self.data))

    @cached_property
    def tree(self) -> KnownTree:
        """Its whole tree."""
        chunks = (self.data[at : at + CHUNK_BYTES] for at in range(0, len(self.data), CHUNK_BYTES))
        return KnownTree.of_leaves(len(self.data), map(leaf_hash, chunks))

    def chunk(self, index: int) -> bytes:
        """Return one chunk."""
        return self.data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]

    def send_pages(self, to: ArrivingBlob) -> None:
        """Let all pages of its tree arrive."""
        for page in self.tree.geometry.page_ids():
            data = self.tree.page(page)
            assert data is not None
            to.add_page(page, data)

    def send(self, to: ArrivingBlob, chunks: Iterable[int] | None = None) -> None:
        """Let pages and chunks arrive, all of them if none are named."""
        self.send_pages(to)
        for index in range(self.tree.geometry.chunks) if chunks is None else chunks:
            to.write_chunk(index, self.chunk(index))


def promise_of(*cargo: Cargo) -> Promise:
    """Promise a model of these blobs."""
    manifest = Manifest.of([one.blob for one in cargo])
    return Promise(manifest, {one.blob.sha256: one.tree.root for one in cargo})


def deliver(arrival: Arrival, *cargo: Cargo) -> None:
    """Let everything arrive that is missing."""
    for one in cargo:
        if one.blob.sha256 in arrival.blobs:
            one.send(arrival.blobs[one.blob.sha256])

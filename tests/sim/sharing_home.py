"""A node on the simulated net that gives and fetches models: real store, real sharing, no engine."""

import asyncio
import hashlib
import io
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from device.api_of_models import HeldModel, PullProgress
from device.core.sharing_messages import WantChunks, parse_message
from device.errands import Errands
from device.sharing.relatives import Relatives
from device.sharing.releases import Releases
from device.sharing.sharing import Sharing
from device.sharing.stock import Stock
from device.sharing.transfer import RoomFor
from mesh.core import crypto
from mesh.publishing import verify
from models.arrivals import Arrivals
from models.blob_trees import BlobTrees
from models.cards import Cards
from models.core.hash_tree import CHUNK_BYTES
from models.core.manifest import GGUF, Blob, Manifest
from models.store import Details, ModelStore, StoredModel
from tests.sim.mesh_net import SimulatedMesh, SimulatedNet

CHUNKS = 12
SIZE = CHUNKS * CHUNK_BYTES - 1000
FREE = Details(licence="CC0-1.0", description="random bytes", source="here")
WITHIN_S = 30.0


class SimulatedPublisher:
    """Signs with a key of its own, and believes whoever is in `believed`."""

    def __init__(self, name: str, believed: set[bytes]) -> None:
        self._seed = hashlib.sha256(name.encode()).digest()
        self.public = crypto.ed25519_public(self._seed)
        self.believed = believed

    def sign(self, message: bytes) -> bytes:
        """Sign anything."""
        return crypto.sign_plainly(self._seed, message)

    def believes(self, public: bytes) -> bool:
        """Whether a key is one of those."""
        return public in self.believed


class Sharer:
    """One node.  Lives for as long as `open` does; its store outlives that."""

    def __init__(self, net: SimulatedNet, name: str, folder: Path, *, believed: set[bytes]) -> None:
        self.name = name
        self.net = net
        self.mesh: SimulatedMesh = net.node(name)
        self.store = ModelStore(folder / name)
        self.publisher = SimulatedPublisher(name, believed)
        self.arrived: list[StoredModel] = []
        self.sharing: Sharing
        self.others: dict[str, Sharer] = {}

    def holds(
        self, data: bytes = b"", *, seed: int = 1, size: int = SIZE, details: Details = FREE, name: str = "tiny"
    ) -> StoredModel:
        """Put a model into the store, of random bytes where none are given."""
        data = data or random.Random(seed).randbytes(size)  # noqa: S311  the same each time
        blob = Blob(GGUF, hashlib.sha256(data).hexdigest(), len(data))
        self.store.add(io.BytesIO(data), blob)
        return self.store.install(name, Manifest.of([blob]), details)

    @asynccontextmanager
    async def open(
        self, *, enabled: bool = True, bytes_per_s: float = 0.0, room: RoomFor = lambda *_: nullcontext()
    ) -> AsyncIterator["Sharer"]:
        """Live."""
        errands = Errands()
        trees = BlobTrees(self.store)
        releases = Releases(Cards(self.store, verify=verify), trees, self.publisher, verify=verify)
        self.sharing = Sharing(
            mesh=self.mesh,
            arrivals=Arrivals(self.store, releases.promise),
            releases=releases,
            relatives=Relatives(trees, self.store.models),
            stock=lambda arriving: Stock(
                store=self.store,
                stored=self.store.models,
                arriving=arriving,
                releases=releases,
                trees=trees,
                errands=errands,
            ),
            models_of=self._models_of,
            on_arrived=self.arrived.append,
            room=room,
            enabled=enabled,
            bytes_per_s=bytes_per_s,
        )
        async with errands.open():
            running = asyncio.create_task(self.sharing.run())
            await asyncio.sleep(0)
            try:
                yield self
            finally:
                running.cancel()
                await asyncio.wait((running,))
                self.mesh.deafen()
                if not running.cancelled():
                    running.result()

    async def pulls(self, model: StoredModel, *, name: str = "tiny") -> tuple[StoredModel, list[PullProgress]]:
        """Pull a model to its end."""
        steps: list[PullProgress] = []
        async with asyncio.timeout(WITHIN_S):
            async for step in self.sharing.pull(model.digest, name):
                if isinstance(step, StoredModel):
                    return step, steps
                assert isinstance(step, PullProgress)
                steps.append(step)
        raise AssertionError("the pull had no end")

    def asked_for(self, by: "Sharer | None" = None) -> list[int]:
        """The chunks that this node was asked for, in order: by everybody, or by one other."""
        seen = [one for one in self.mesh.seen[WantChunks.KIND] if by is None or one.peer == by.mesh.node_id]
        wants = [parse_message(one.kind, one.body) for one in seen]
        return [index for want in wants if isinstance(want, WantChunks) for index in want.indexes]

    def _models_of(self, node_id: str) -> tuple[HeldModel, ...]:
        other = self.others.get(node_id)
        models = other.store.models() if other is not None else ()
        return tuple(HeldModel(name=one.name, digest=one.digest, size_bytes=one.size_bytes) for one in models)


def street(net: SimulatedNet, folder: Path, *names: str) -> list[Sharer]:
    """Nodes that are all linked to each other and believe each other."""
    believed: set[bytes] = set()
    homes = [Sharer(net, name, folder, believed=believed) for name in names]
    believed.update(home.publisher.public for home in homes)
    for home in homes:
        home.others = {other.mesh.node_id: other for other in homes if other is not home}
    for number, one in enumerate(homes):
        for other in homes[number + 1 :]:
            net.link(one.mesh, other.mesh)
    return homes

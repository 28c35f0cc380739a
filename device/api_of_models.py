"""What the daemon answers about models, those of the mesh among them; the rest stands in device.api."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """A model, wherever it is."""

    name: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class HeldModel(NamedModel):
    """A model that some node holds.  passed_on: whether neighbours get it from there, as its licence allows."""

    licence: str = "unknown"
    passed_on: bool = True


@dataclass(frozen=True, kw_only=True)
class Model(HeldModel):
    """A model in this node's own store.

    pinned: kept whatever the quota says; damaged: set aside, and nobody is answered by it until it is repaired;
    used_ago_s: since it last answered, counting the node's running time, None = it has not.
    """

    description: str = ""
    trained_on: str = "unknown"
    bad_at: str = "unknown"
    loaded: bool = False
    loading: bool = False
    converted_percent: int = 0  # while it is loading: a model's first question converts it
    pinned: bool = False
    damaged: bool = False
    used_ago_s: int | None = None


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """A model that can be pulled by its name."""

    name: str
    size_bytes: int
    licence: str = "unknown"
    description: str = ""
    present: bool = False


@dataclass(frozen=True, kw_only=True)
class Arriving(NamedModel):
    """A model on its way here from neighbours.

    size_bytes: of what has to come; bytes_here: of what has come; stopped: it goes on only when it is asked for.
    """

    bytes_here: int = 0
    stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class Models:
    """What is in the store, what is on its way there, and what the catalogue offers."""

    models: tuple[Model, ...] = ()
    arriving: tuple[Arriving, ...] = ()
    catalogue: tuple[CatalogueEntry, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PullProgress:
    """How far a pull is: `done` of `total` in the stage's own unit (bytes while downloading); total 0 = unknown.

    sources, bytes_per_s: how many neighbours give it, and how fast it comes, in the stage `fetch`.
    """

    stage: str
    done: int = 0
    total: int = 0
    sources: int = 0
    bytes_per_s: int = 0


@dataclass(frozen=True, kw_only=True)
class Removed(NamedModel):
    """A model that was removed to make room for another; size_bytes: of its source files."""


@dataclass(frozen=True, kw_only=True)
class Deleted(NamedModel):
    """A model that its owner removed.  arriving: it was on its way; size_bytes: of its files, or of what had come."""

    arriving: bool = False


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A node that holds a model.  hops: how far away it is, 1 for a neighbour."""

    node_id: str
    name: str
    hops: int


@dataclass(frozen=True, kw_only=True)
class MeshModel(HeldModel):
    """A model of the mesh.

    licence: as the nearest holder says; passed_on: by any of them; here: whether this node holds it; holders: the
    others in reach that do, the nearest first; holder_count: how many they are, where not all are named;
    disk_bytes, memory_bytes: what it will need here, estimated from its size; shortfalls: in what way it will not
    fit, nothing where it will; published_by, retired: what the record says of it, see `device.api_of_record.OnRecord`.
    """

    here: bool = False
    holders: tuple[Holder, ...] = ()
    holder_count: int = 0
    disk_bytes: int = 0
    memory_bytes: int = 0
    shortfalls: tuple[str, ...] = ()
    published_by: tuple[str, ...] = ()
    retired: str = ""


@dataclass(frozen=True, kw_only=True)
class MeshModels:
    """What the nodes in reach hold, this one too.

    left_out: how many more there are than are listed; untold: how many models of this node the others are not told of,
    since an announcement holds no more.
    """

    models: tuple[MeshModel, ...] = ()
    left_out: int = 0
    untold: int = 0


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A file of a model that is not what was stored.  chunks: which of its 256 KiB are damaged, where that is known."""

    sha256: str
    size_bytes: int
    chunks: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a model was found to be.  damage: what was found damaged and set aside; repaired: and is whole again."""

    name: str
    digest: str
    sound: bool
    repaired: bool = False
    damage: tuple[Damage, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found of the models that were verified, by name."""

    models: tuple[Verified, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing was found damaged, or all of it is whole again."""
        return all(one.sound or one.repaired for one in self.models)

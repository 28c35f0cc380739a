"""What the rest of a node stands on: its identity, its keys and ledger on disk, its broker; opened in this order."""

from dataclasses import dataclass
from typing import Self

from mesh import replacement
from mesh.access import Access
from mesh.broker import Broker
from mesh.community import CommunityStore
from mesh.config import MeshConfig
from mesh.errors import StorageError
from mesh.hardware import HomeBoard, read_board
from mesh.identity import Identity


@dataclass(frozen=True, kw_only=True)
class Foundations:
    """The node's own; `store` holds an open database until somebody closes it."""

    identity: Identity
    home: HomeBoard
    access: Access
    broker: Broker
    store: CommunityStore

    @classmethod
    def open(cls, config: MeshConfig) -> Self:
        """Open or make all of it; a new identity is put in place first, if one was asked for.  Errors: MeshError."""
        directory = config.data_dir / "mesh"
        replacement.carry_out(directory)
        identity = Identity.open(directory / "identity")
        home = HomeBoard(directory / "board", read_board(identity.raw_id, config.hardware))
        try:
            access = Access(identity, directory / "tls")
            broker = Broker(
                owner_id=identity.node_id,
                directory=directory / "broker",
                authority=access.authority,
                kind=config.broker,
                port=config.mqtt_port,
                bind_address=config.bind_address,
            )
        except OSError as error:
            raise StorageError(f"the data directory cannot be read or written: {error}") from error
        store = CommunityStore(directory / "community.db", identity)
        store.may_sign = not home.changed
        return cls(identity=identity, home=home, access=access, broker=broker, store=store)

"""What a node of the mesh must know before it starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """The mesh as its owner wants it; ports of 0 are any free ones."""

    data_dir: Path
    name: str
    interfaces: tuple[str, ...] = ("auto",)
    mqtt_port: int = 8883  # 0: any free one
    door_port: int = 8884
    broker: Literal["auto", "mosquitto", "amqtt"] = "auto"
    static_peers: tuple[str, ...] = ()  # "host[:door port]", where mDNS does not reach
    hardware: Path = Path("/")  # where the serial numbers of the board are read

    @property
    def bind_address(self) -> str | None:
        """Where broker and door listen, None = everywhere: a node on loopback alone is reached nowhere else."""
        return LOOPBACK if self.interfaces == ("lo",) else None

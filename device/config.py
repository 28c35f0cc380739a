"""The configuration: frozen values from `hearth.toml` and HEARTH_ variables, every key known by name.

Order, later wins: the defaults below, /etc/hearth/hearth.toml, DATA/hearth.toml, HEARTH_SECTION_KEY variables
(lists separated by commas).  A key that is none is an error, never ignored: a misspelt one would leave its default in
force, and nobody would know.
"""

import difflib
import os
import socket
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from device.errors import ConfigError

FILE_NAME: Final = "hearth.toml"
SYSTEM_FOLDER: Final = Path("/etc/hearth")
SERVICE_DATA: Final = Path("/var/lib/hearth")
SERVICE_RUNTIME: Final = Path("/run/hearth")
SOCKET_NAME: Final = "api.sock"
VARIABLE_PREFIX: Final = "HEARTH_"
DATA_VARIABLE: Final = "HEARTH_DATA"
MAX_FILE_BYTES: Final = 64 * 1024
MAX_NAME_CHARACTERS: Final = 63
MAX_PORT: Final = 65_535
MIN_CONTEXT_TOKENS: Final = 16
MAX_CONTEXT_TOKENS: Final = 131_072
MAX_THREADS: Final = 256
MAX_SLOTS: Final = 32
MAX_PREFIX_MB: Final = 65_536
AUTOMATIC: Final = -1
MIN_WAITING: Final = 2
MAX_WAITING: Final = 512  # half of it, which one client may have, is what one door has connections for
MAX_IDLE_MINUTES: Final = 7 * 24 * 60
MAX_MBIT: Final = 100_000
MAX_CELSIUS: Final = 120
MAX_PERCENT: Final = 100
MAX_QUOTA_GB: Final = 1_000_000


def _own_name() -> str:
    """The machine's name, as far as it is a name for a node."""
    name = "".join(character for character in socket.gethostname().split(".")[0] if character.isprintable())
    return name[:MAX_NAME_CHARACTERS] or "hearth"


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """[node]: how this node presents itself to people."""

    name: str = field(default_factory=_own_name)

    def __post_init__(self) -> None:
        if not (1 <= len(self.name) <= MAX_NAME_CHARACTERS and self.name.isprintable() and self.name.strip()):
            raise ConfigError(f"node.name: 1 to {MAX_NAME_CHARACTERS} printable characters")


@dataclass(frozen=True, kw_only=True)
class HttpConfig:
    """[http]: the OpenAI-compatible API on loopback, and on the LAN where the owner says so."""

    port: int = 4327  # H-E-A-R on a telephone; 0 = any free one
    lan: bool = False  # true: always reachable in the networks of discovery.interfaces, for whoever has a key
    https: bool = False  # true: where the LAN is open, also over TLS with a certificate of the node's own making
    https_port: int = 4328

    def __post_init__(self) -> None:
        _check_port("http.port", self.port)
        _check_port("http.https_port", self.https_port)
        if self.https and self.https_port == self.port != 0:
            raise ConfigError(f"http.https_port: {self.https_port} is http.port already; choose another")


@dataclass(frozen=True, kw_only=True)
class MqttConfig:
    """[mqtt]: the own broker, where neighbours' frames arrive."""

    port: int = 8883
    broker: Literal["auto", "mosquitto", "amqtt"] = "auto"  # auto = mosquitto where it is installed

    def __post_init__(self) -> None:
        _check_port("mqtt.port", self.port)


@dataclass(frozen=True, kw_only=True)
class DoorConfig:
    """[door]: where strangers may knock to pair."""

    port: int = 8884

    def __post_init__(self) -> None:
        _check_port("door.port", self.port)


@dataclass(frozen=True, kw_only=True)
class DiscoveryConfig:
    """[discovery]: where neighbours are looked for."""

    interfaces: tuple[str, ...] = ("auto",)  # auto = all but loopback, containers and virtual bridges
    peers: tuple[str, ...] = ()  # "host" or "host:door port", where multicast does not reach

    def __post_init__(self) -> None:
        if not self.interfaces or not all(self.interfaces) or not all(self.peers):
            raise ConfigError("discovery.interfaces and discovery.peers: lists of names that are not empty")


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """[engine]: the worker that answers."""

    threads: int = 0  # 0 = every core this process may use, up to 8
    context_tokens: int = 0  # prompt and answer together; 0 = what the model knows, as far as the memory reaches
    kv_cache: Literal["int8", "float32"] = "int8"  # of what was read; float32 takes four times the memory
    slots: int = 0  # answers at a time; 0 = one for each GB of memory, up to 8
    idle_minutes: int = 30  # after which a model that nobody asks is unloaded; 0 = never. It is loaded in seconds
    prefix_mb: int = -1  # memory for beginnings of questions that come again; -1 = a sixteenth of it all, up to 512

    def __post_init__(self) -> None:
        if not 0 <= self.threads <= MAX_THREADS:
            raise ConfigError(f"engine.threads: 0 (all cores) to {MAX_THREADS}")
        if self.context_tokens and not MIN_CONTEXT_TOKENS <= self.context_tokens <= MAX_CONTEXT_TOKENS:
            raise ConfigError(
                f"engine.context_tokens: 0 (the model's limit) or {MIN_CONTEXT_TOKENS} to {MAX_CONTEXT_TOKENS}"
            )
        if not 0 <= self.slots <= MAX_SLOTS:
            raise ConfigError(f"engine.slots: 0 (by the board's memory) to {MAX_SLOTS}")
        if not 0 <= self.idle_minutes <= MAX_IDLE_MINUTES:
            raise ConfigError(f"engine.idle_minutes: 0 (never) to {MAX_IDLE_MINUTES}")
        if not AUTOMATIC <= self.prefix_mb <= MAX_PREFIX_MB:
            raise ConfigError(f"engine.prefix_mb: {AUTOMATIC} (by the board's memory), 0 (none) to {MAX_PREFIX_MB}")


@dataclass(frozen=True, kw_only=True)
class QueueConfig:
    """[queue]: who may wait for the engine."""

    waiting: int = 32  # questions of others; half of them of one client at most, and half of them of all guests

    def __post_init__(self) -> None:
        if not MIN_WAITING <= self.waiting <= MAX_WAITING:
            raise ConfigError(f"queue.waiting: {MIN_WAITING} to {MAX_WAITING} questions")


@dataclass(frozen=True, kw_only=True)
class SharingConfig:
    """[sharing]: what neighbours get of this board: models, and its time, less of it while the board spares itself."""

    enabled: bool = True  # models are given to members who ask for them, where their licences allow it
    max_mbit: int = 0  # megabits a second for models on their way, each way; 0 = no limit
    warm_celsius: int = 70  # from here on less and less: a Raspberry Pi slows itself down from 80
    hot_celsius: int = 80  # from here on nothing
    low_percent: int = 50  # of a battery that runs down: what is left is kept more and more for the owner
    empty_percent: int = 20  # from here on nothing; below that batteries age, and boards lose power without warning

    def __post_init__(self) -> None:
        if not 0 <= self.max_mbit <= MAX_MBIT:
            raise ConfigError(f"sharing.max_mbit: 0 (no limit) to {MAX_MBIT}")
        if not 0 < self.warm_celsius < self.hot_celsius <= MAX_CELSIUS:
            raise ConfigError(f"sharing.warm_celsius < sharing.hot_celsius: 1 to {MAX_CELSIUS}")
        if not 0 <= self.empty_percent < self.low_percent <= MAX_PERCENT:
            raise ConfigError(f"sharing.empty_percent < sharing.low_percent: 0 to {MAX_PERCENT}")


@dataclass(frozen=True, kw_only=True)
class ModelsConfig:
    """[models]: what answers when a question names no model, and how much of the disk models may take."""

    default: str = "smollm2-135m"
    quota_gb: int = 0  # with what is made of them; whatever was used least makes room, unless pinned.  0 = no limit

    def __post_init__(self) -> None:
        if not self.default:
            raise ConfigError("models.default: a model's name")
        if not 0 <= self.quota_gb <= MAX_QUOTA_GB:
            raise ConfigError(f"models.quota_gb: 0 (no limit) to {MAX_QUOTA_GB}")


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """[log]: what is written to stderr, one line an event."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


@dataclass(frozen=True, kw_only=True)
class HearthConfig:
    """Everything the daemon is told from outside."""

    data_dir: Path
    node: NodeConfig = field(default_factory=NodeConfig)
    http: HttpConfig = field(default_factory=HttpConfig)
    mqtt: MqttConfig = field(default_factory=MqttConfig)
    door: DoorConfig = field(default_factory=DoorConfig)
    discovery: DiscoveryConfig = field(default_factory=DiscoveryConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    queue: QueueConfig = field(default_factory=QueueConfig)
    sharing: SharingConfig = field(default_factory=SharingConfig)
    log: LogConfig = field(default_factory=LogConfig)

    @property
    def socket_path(self) -> Path:
        """Where the owner's API listens."""
        return socket_path(self.data_dir)

    @property
    def socket_mode(self) -> int:
        """Who may speak to it: the service's group, or the owner alone."""
        return 0o660 if self.socket_path.parent == SERVICE_RUNTIME else 0o600


SECTIONS: Final[Mapping[str, type[Any]]] = {
    "node": NodeConfig,
    "http": HttpConfig,
    "mqtt": MqttConfig,
    "door": DoorConfig,
    "discovery": DiscoveryConfig,
    "engine": EngineConfig,
    "models": ModelsConfig,
    "queue": QueueConfig,
    "sharing": SharingConfig,
    "log": LogConfig,
}


def load_config(
    data_dir: Path | None = None, *, env: Mapping[str, str] | None = None, system_folder: Path = SYSTEM_FOLDER
) -> HearthConfig:
    """Read the configuration of the node whose data is in `data_dir` (None = HEARTH_DATA or the usual place).

    Raises ConfigError naming the key, and the nearest known one when it is misspelt.
    """
    env = os.environ if env is None else env
    data_dir = (data_dir or default_data_dir(env)).absolute()
    values: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    for folder in (system_folder, data_dir):
        for key, value in _file_values(folder / FILE_NAME):
            _put(values, key, value, source=str(folder / FILE_NAME))
    for key, value in _variable_values(env):
        _put(values, key, value, source="the environment")
    sections = {section: kind(**values[section]) for section, kind in SECTIONS.items()}
    return HearthConfig(data_dir=data_dir, **sections)


def default_data_dir(env: Mapping[str, str]) -> Path:
    """HEARTH_DATA; the service's directory for the service's user; else the user's own."""
    if given := env.get(DATA_VARIABLE):
        return Path(given)
    try:
        if SERVICE_DATA.stat().st_uid == os.getuid() and os.access(SERVICE_DATA, os.W_OK):
            return SERVICE_DATA
    except OSError:
        pass
    home = env.get("XDG_DATA_HOME") or Path(env.get("HOME") or "~").expanduser() / ".local" / "share"
    return Path(home) / "hearth"


def socket_path(data_dir: Path) -> Path:
    """Where the owner's API of that data directory listens: in /run for the service, so that its group gets in."""
    if data_dir == SERVICE_DATA and SERVICE_RUNTIME.is_dir():
        return SERVICE_RUNTIME / SOCKET_NAME
    return data_dir / SOCKET_NAME


def _file_values(path: Path) -> Iterator[tuple[str, object]]:
    """Yield (SECTION.KEY, value) of a file; nothing where there is none."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    try:
        tables = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error
    for section, keys in tables.items():
        if not isinstance(keys, dict):
            raise ConfigError(f"{path}: {section} stands outside any section{_nearest(section)}")
        for key, value in keys.items():
            yield f"{section}.{key}", value


def _variable_values(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (SECTION.KEY, text) of each HEARTH_ variable."""
    by_variable = {_variable(key): key for key in _types()}
    for name, text in env.items():
        if name.startswith(VARIABLE_PREFIX) and name != DATA_VARIABLE:
            if name not in by_variable:
                near = difflib.get_close_matches(name, [*by_variable, DATA_VARIABLE], 1)
                raise ConfigError(f"unknown variable {name}" + (f"; did you mean {near[0]}?" if near else ""))
            yield by_variable[name], text


def _put(values: dict[str, dict[str, object]], key: str, value: object, *, source: str) -> None:
    kinds = _types()
    if key not in kinds:
        raise ConfigError(f"unknown key {key} in {source}{_nearest(key)}")
    section, _, name = key.partition(".")
    values[section][name] = _convert(kinds[key], value, f"{key} in {source}")


def _types() -> dict[str, Any]:
    """Every SECTION.KEY and the annotation of its value."""
    return {
        f"{section}.{name}": annotation
        for section, kind in SECTIONS.items()
        for name, annotation in typing.get_type_hints(kind).items()
    }


def _convert(kind: Any, value: object, where: str) -> object:  # noqa: ANN401  an annotation is no type
    """Turn TOML's value, or a variable's text, into what the annotation says."""
    if kind is int and type(value) is int:
        return value
    if kind is bool:
        return _truth(value, where)
    if kind is int and isinstance(value, str):
        if value.isascii() and value.isdecimal() and len(value) <= len(str(2**63)):
            return int(value)
        raise ConfigError(f"{where}: {value!r} is no whole number")
    if kind is str and isinstance(value, str):
        return value
    if typing.get_origin(kind) is Literal:
        if value in typing.get_args(kind):
            return value
        raise ConfigError(f"{where}: {value!r} is none of {', '.join(typing.get_args(kind))}")
    if isinstance(kind, types.GenericAlias):  # tuple[str, ...]
        items = [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return tuple(items)
        raise ConfigError(f"{where}: not a list of texts")
    raise ConfigError(f"{where}: {value!r} is not {'a whole number' if kind is int else 'a text'}")


def _truth(value: object, where: str) -> bool:
    for word, truth in (("true", True), ("false", False)):
        if value is truth or value == word:
            return truth
    raise ConfigError(f"{where}: {value!r} is neither true nor false")


def _variable(key: str) -> str:
    return VARIABLE_PREFIX + key.replace(".", "_").upper()


def _nearest(key: str) -> str:
    known = list(_types())
    same_name = [one for one in known if one.partition(".")[2] == key.rpartition(".")[2]]
    near = difflib.get_close_matches(key, known, 1) if "." in key else same_name
    return f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(known)}"


def _check_port(key: str, port: int) -> None:
    if not 0 <= port <= MAX_PORT:
        raise ConfigError(f"{key}: {port} is no port; 0 (any free one) to {MAX_PORT}")

"""hearth.toml and HEARTH_ variables."""

from pathlib import Path

import pytest

from device.config import HearthConfig, default_data_dir, load_config, socket_path
from device.errors import ConfigError


def load(tmp_path: Path, toml: str = "", *, system: str = "", **env: str) -> HearthConfig:
    """Load a configuration from these texts."""
    data, etc = tmp_path / "data", tmp_path / "etc"
    for folder, text in ((data, toml), (etc, system)):
        folder.mkdir(exist_ok=True)
        (folder / "hearth.toml").write_text(text)
    return load_config(data, env=env, system_folder=etc)


def test_without_any_file_the_defaults_hold(tmp_path: Path) -> None:
    """Everything has a default; the ports are the documented ones."""
    config = load_config(tmp_path / "new", env={}, system_folder=tmp_path)
    assert (config.http.port, config.mqtt.port, config.door.port) == (4327, 8883, 8884)
    assert (config.http.https, config.http.https_port) == (False, 4328)
    assert config.data_dir == tmp_path / "new"
    assert config.node.name


def test_later_sources_win(tmp_path: Path) -> None:
    """/etc, then the data directory, then the environment, key by key."""
    config = load(
        tmp_path,
        '[node]\nname = "attic"\n[http]\nport = 2',
        system='[node]\nname = "house"\n[http]\nport = 1\n[engine]\nthreads = 3',
        HEARTH_HTTP_PORT="0",
        HEARTH_HTTP_HTTPS="true",
        HEARTH_HTTP_HTTPS_PORT="0",
        HEARTH_DISCOVERY_INTERFACES="lo, eth0",
        HEARTH_DISCOVERY_PEERS="",
        HEARTH_MQTT_BROKER="amqtt",
        HEARTH_DATA="elsewhere",
        PATH="/bin",
    )
    assert (config.node.name, config.http.port, config.engine.threads) == ("attic", 0, 3)
    assert (config.http.https, config.http.https_port) == (True, 0)
    assert config.discovery.interfaces == ("lo", "eth0")
    assert config.discovery.peers == ()
    assert config.mqtt.broker == "amqtt"


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[http]\nprot = 1", "unknown key http.prot in .*hearth.toml; did you mean http.port?"),
        ("[htp]\nport = 1", "unknown key htp.port in .*; did you mean http.port?"),
        ("[node]\ncolour = 1", "unknown key node.colour in .*; known: node.name"),
        ("port = 1", "port stands outside any section; did you mean http.port or mqtt.port or door.port?"),
        ('[http]\nport = "eighty"', "http.port in .*: 'eighty' is no whole number"),
        ("[http]\nport = true", "http.port in .*: True is not a whole number"),
        ("[http]\nport = 70000", "http.port: 70000 is no port"),
        ("[http]\nhttps_port = 70000", "http.https_port: 70000 is no port"),
        ("[http]\nhttps = true\nport = 4328", "http.https_port: 4328 is http.port already"),
        ("[door]\nport = -1", "door.port: -1 is no port"),
        ("[node]\nname = 3", "node.name in .*: 3 is not a text"),
        ('[node]\nname = ""', "node.name: 1 to 63 printable characters"),
        ('[node]\nname = "a\\u001b[2J"', "node.name: 1 to 63 printable characters"),
        ('[mqtt]\nbroker = "kafka"', "mqtt.broker in .*: 'kafka' is none of auto, mosquitto, amqtt"),
        ("[discovery]\ninterfaces = [1]", "discovery.interfaces in .*: not a list of texts"),
        ("[discovery]\ninterfaces = []", "discovery.interfaces and discovery.peers"),
        ("[engine]\ncontext_tokens = 1", "engine.context_tokens: 0 .the model's limit. or 16 to"),
        ('[engine]\nkv_cache = "int4"', "engine.kv_cache in .*: 'int4' is none of int8, float32"),
        ("[engine]\nidle_minutes = -1", "engine.idle_minutes: 0"),
        ("[engine]\nthreads = -1", "engine.threads: 0"),
        ("[queue]\nwaiting = 1", "queue.waiting: 2 to 512 questions"),
        ("[queue]\nwaiting = 513", "queue.waiting: 2 to 512 questions"),
        ('[models]\ndefault = ""', "models.default: a model's name"),
        ("[models]\nquota_gb = -1", "models.quota_gb: 0 .no limit. to"),
        ("[http\nport", "is no TOML"),
        ("#" * 70_000, "larger than 65536 bytes"),
    ],
)
def test_a_bad_key_is_named(tmp_path: Path, toml: str, words: str) -> None:
    """The error names the key, where it stands, and the nearest one that exists."""
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, toml)


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"HEARTH_HTTP_PRT": "1"}, "unknown variable HEARTH_HTTP_PRT; did you mean HEARTH_HTTP_PORT?"),
        ({"HEARTH_ZZZZZZZZZZZZ": "1"}, "unknown variable HEARTH_ZZZZZZZZZZZZ$"),
        ({"HEARTH_HTTP_PORT": "x"}, "http.port in the environment: 'x' is no whole number"),
        ({"HEARTH_HTTP_PORT": "²"}, "http.port in the environment"),
    ],
)
def test_a_bad_variable_is_named(tmp_path: Path, env: dict[str, str], words: str) -> None:
    """The environment is as strict as the file."""
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, **env)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A directory of that name is no configuration; it is not passed over."""
    (tmp_path / "hearth.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, env={}, system_folder=tmp_path / "none")


def test_where_the_data_is(tmp_path: Path) -> None:
    """HEARTH_DATA, else the user's own directory."""
    assert default_data_dir({"HEARTH_DATA": "/somewhere"}) == Path("/somewhere")
    assert default_data_dir({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "hearth"
    assert default_data_dir({"HOME": str(tmp_path)}) == tmp_path / ".local" / "share" / "hearth"


def test_the_socket_lies_in_the_data_directory(tmp_path: Path) -> None:
    """And belongs to the owner alone, unless it is the service's."""
    config = load(tmp_path)
    assert socket_path(config.data_dir) == config.socket_path == config.data_dir / "api.sock"
    assert config.socket_mode == 0o600

"""The laws of the house that import-linter has no words for: one room a library, a light daemon, a quick command."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("device", "mesh", "models", "tui")

# Where each third-party library is touched. A second room needs a reason here.
ROOMS = {
    "amqtt": {"mesh.amqtt_broker"},
    "cbor2": {"mesh.core.codec"},
    "cryptography": {"mesh.certificates", "mesh.core.crypto"},  # TLS, and seals
    "h11": {"device.socket_http"},
    "httpx": {"models.download"},
    "ifaddr": {"mesh.interfaces"},
    "jinja2": {"models.templates"},
    "llguidance": {"models.constraints"},
    "nacl": {"mesh.core.crypto"},
    "onnx": {
        "models.graph",
        "models.int8_cache",
        "models.decoder_graph",
        "models.packing",
        "models.weights",
    },  # nodes and weights
    "onnxruntime": {"models.session"},
    "paho": {"mesh.mqtt_connection"},
    "segno": {"device.cli.qr"},
    "tokenizers": {"models.tokenizer"},
    "yaml": {"models.card_import"},
    "uvicorn": {"device.http.server"},
    "zeroconf": {"mesh.discovery", "mesh.host_name"},  # nodes, and the name that phones know
}


def imports() -> dict[str, set[str]]:
    """Third-party library -> the modules that import it."""
    found: dict[str, set[str]] = defaultdict(set)
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(path.read_text())):
                for name in _imported(node):
                    found[name.partition(".")[0]].add(module)
    return found


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module)):
            return [module]
    return []


def test_each_library_is_touched_in_its_room() -> None:
    """A library that changes its ways is mended in one place."""
    found = imports()
    assert {name: found[name] for name in ROOMS} == ROOMS


def test_the_tui_knows_only_the_client() -> None:
    """What the screen shows came through the same API that everybody else has."""
    found = imports()
    assert {name for name in ("mesh", "models") if any(module.startswith("tui") for module in found[name])} == set()


def test_the_daemon_stays_light() -> None:
    """Composing a node loads neither the numeric libraries nor what only a verb or a pull needs."""
    heavy = ("numpy", "onnx", "onnxruntime", "tokenizers", "llguidance", "jinja2", "httpx", "textual", "amqtt", "rich")
    code = f"import sys, device.node; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"

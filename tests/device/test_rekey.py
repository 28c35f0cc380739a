"""A daemon that gets a new identity while it runs: the same process, its service manager undisturbed."""

import asyncio
import signal
import socket
from pathlib import Path

from device.client import DaemonClient
from tests.device.test_node import serving, until_logged


def test_a_daemon_begins_anew_as_another_node(tmp_path: Path) -> None:
    """Ports, models and settings stay as configured; the manager hears that it is ready, not that it stops."""
    data = tmp_path / "ember"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "HEARTH_HTTP_PORT": str(port)}
        with serving(data, **env) as process:
            before = until_logged(process, "ready")
            assert manager.recv(64) == b"READY=1"
            kept = asyncio.run(DaemonClient(data / "api.sock").rekey()).kept
            after = until_logged(process, "ready")
            assert manager.recv(64) == b"READY=1"
            status = asyncio.run(DaemonClient(data / "api.sock").status())
            process.send_signal(signal.SIGTERM)
            assert manager.recv(64) == b"STOPPING=1"
            until_logged(process, "stopped")
            assert process.wait(20) == 0
    assert (after["pid"], after["http_port"]) == (before["pid"], port)
    assert status.node_id == after["node_id"] != before["node_id"]
    assert Path(kept, "identity").exists()
    assert Path(kept) == data / "mesh" / "replaced-1"


def test_a_request_outlives_the_daemon(tmp_path: Path) -> None:
    """Killed before it could begin anew: the next start is the new node's."""
    data = tmp_path / "ember"
    with serving(data) as process:
        before = until_logged(process, "ready")
        asyncio.run(DaemonClient(data / "api.sock").rekey())
        process.kill()
    with serving(data) as process:
        after = until_logged(process, "ready")
        process.kill()
    assert after["node_id"] != before["node_id"]
    assert (data / "mesh" / "replaced-1" / "identity").exists()
    assert not (data / "mesh" / "replace").exists()

"""What the service manager hears."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from device.notify import ServiceNotifier


@pytest.mark.parametrize("abstract", [True, False])
async def test_the_manager_hears_ready_alive_and_stopping(tmp_path: Path, abstract: bool) -> None:  # noqa: FBT001  a parameter
    """On a path or an abstract socket; the watchdog is fed at half its patience."""
    name = f"hearth-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        manager.setblocking(False)
        env = {"NOTIFY_SOCKET": f"@{name}" if abstract else name, "WATCHDOG_USEC": "20000"}
        notifier = ServiceNotifier(env)
        assert notifier.watchdog_interval_s == 0.01
        notifier.ready()
        watching = asyncio.create_task(notifier.watch())
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            heard = [await loop.sock_recv(manager, 100) for _ in range(3)]
        watching.cancel()
        notifier.stopping()
        assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        async with asyncio.timeout(5):
            while await loop.sock_recv(manager, 100) != b"STOPPING=1":
                pass


def test_children_do_not_speak_for_the_node() -> None:
    """What names the manager is taken out of the environment they inherit."""
    env = {"NOTIFY_SOCKET": "@somewhere", "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1", "LANG": "C.UTF-8"}
    ServiceNotifier(env)
    assert env == {"LANG": "C.UTF-8"}


async def test_without_a_manager_nothing_happens() -> None:
    """Run by hand, there is nobody to tell and nothing to feed."""
    notifier = ServiceNotifier({"WATCHDOG_USEC": "20000"})
    notifier.ready()
    await notifier.watch()
    assert notifier.watchdog_interval_s == 0.01


def test_a_manager_that_is_gone_is_logged_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A socket nobody listens on does not stop the node."""
    ServiceNotifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    assert "service manager not told" in caplog.text


@pytest.mark.parametrize(
    "env", [{}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}]
)
def test_no_watchdog_no_interval(env: dict[str, str]) -> None:
    """Unset, senseless, or meant for another process."""
    assert ServiceNotifier(env).watchdog_interval_s is None

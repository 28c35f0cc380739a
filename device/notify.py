"""What the service manager is told: ready, stopping, still alive.  Plain datagrams, no library (sd_notify(3))."""

import asyncio
import logging
import os
import socket
from collections.abc import Mapping, MutableMapping
from typing import Final

SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE: Final = "WATCHDOG_USEC"
WATCHDOG_PID_VARIABLE: Final = "WATCHDOG_PID"

log = logging.getLogger(__name__)


class ServiceNotifier:
    """Speaks to the manager named in `env`; without one every method does nothing.

    The variables are taken out of `env`: a child that inherits them (mosquitto reads them) would speak for the node.
    """

    def __init__(self, env: MutableMapping[str, str]) -> None:
        self.watchdog_interval_s = _watchdog_interval_s(env)
        address = env.pop(SOCKET_VARIABLE, "")
        # systemd writes an abstract socket's leading NUL as "@".
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        for name in (WATCHDOG_VARIABLE, WATCHDOG_PID_VARIABLE):
            env.pop(name, None)

    def ready(self) -> None:
        """Every port is open and answers."""
        self._send(b"READY=1")

    def stopping(self) -> None:
        """The end has begun; running answers get their grace."""
        self._send(b"STOPPING=1")

    async def watch(self) -> None:
        """Say "still alive" at half the manager's patience: only a loop that turns gets to say it."""
        while self._address and self.watchdog_interval_s is not None:
            self._send(b"WATCHDOG=1")
            await asyncio.sleep(self.watchdog_interval_s)

    def _send(self, state: bytes) -> None:
        if not self._address:
            return
        try:
            with socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            ) as manager:
                manager.sendto(state, self._address)
        except OSError as error:
            # A manager that does not listen is no reason to stop answering.
            log.warning("service manager not told", extra={"state": state.decode(), "reason": error.strerror})


def _watchdog_interval_s(env: Mapping[str, str]) -> float | None:
    """Half of WATCHDOG_USEC in seconds; None when no watchdog waits for this process."""
    patience_us = env.get(WATCHDOG_VARIABLE, "")
    if env.get(WATCHDOG_PID_VARIABLE, str(os.getpid())) != str(os.getpid()):
        return None
    if not (patience_us.isascii() and patience_us.isdecimal() and int(patience_us) > 0):
        return None
    return int(patience_us) / 2e6

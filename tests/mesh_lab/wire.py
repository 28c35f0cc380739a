"""A slow cable: a process with a TAP device in each of two namespaces that passes frames on when their time has come.

For kernels without netem.  Run as `python -m tests.mesh_lab.wire NAMESPACE INTERFACE NAMESPACE INTERFACE SETTINGS`; it
prints a line when both devices are there, and ends with its standard input.
"""

import contextlib
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

from tests.mesh_lab.net import Interface, Lab, LabError, Link, Namespace

TUNSETIFF: Final = 0x400454CA
IFF_TAP: Final = 0x0002
IFF_NO_PI: Final = 0x1000
FRAME_BYTES: Final = 2048
MAX_WAITING: Final = 2000  # frames in each direction; then they are lost, as in a router


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the wire does to each frame, the same in both directions.

    jitter_ms: at most so much is added, by chance, without changing the order; reorder: the share of frames that are
    held back by twice the delay while others pass.
    """

    delay_ms: float
    jitter_ms: float = 0.0
    reorder: float = 0.0
    seed: int = 1


class Direction:
    """Frames on their way to one end."""

    def __init__(self, out: int, settings: Settings) -> None:
        self._out = out
        self._settings = settings
        self._chance = random.Random(settings.seed)  # noqa: S311  the same every time
        self._waiting: list[tuple[float, int, bytes]] = []
        self._count = 0
        self._last_due = 0.0

    def take(self, frame: bytes, *, now: float) -> None:
        """Let a frame wait its time."""
        if len(self._waiting) >= MAX_WAITING:
            return
        due = now + (self._settings.delay_ms + self._chance.uniform(0, self._settings.jitter_ms)) / 1000
        if self._chance.random() < self._settings.reorder:
            due += self._settings.delay_ms / 1000
        else:
            due = self._last_due = max(due, self._last_due)
        self._count += 1
        heapq.heappush(self._waiting, (due, self._count, frame))

    def release(self, *, now: float) -> float | None:
        """Pass on what is due; return when the next one is."""
        while self._waiting and self._waiting[0][0] <= now:
            _, _, frame = heapq.heappop(self._waiting)
            with contextlib.suppress(OSError):  # the interface is down
                os.write(self._out, frame)
        return self._waiting[0][0] if self._waiting else None


def carry(one: int, two: int, settings: Settings) -> None:
    """Pass frames between two TAP devices until standard input ends."""
    ways = {one: Direction(two, settings), two: Direction(one, settings)}
    poll = select.poll()
    for descriptor in (one, two, sys.stdin.fileno()):
        poll.register(descriptor, select.POLLIN)
    while True:
        due = [at for way in ways.values() if (at := way.release(now=time.monotonic())) is not None]
        wait_ms = max(0.0, 1000 * (min(due) - time.monotonic())) if due else None
        for descriptor, _ in poll.poll(wait_ms):
            if descriptor not in ways:
                return
            ways[descriptor].take(os.read(descriptor, FRAME_BYTES), now=time.monotonic())


def _tap(namespace: Namespace, name: str) -> int:
    """Make a TAP device; it is born in the namespace of the thread that opens it."""
    with namespace.entered():
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return descriptor


@contextlib.contextmanager
def slow_link(lab: Lab, one: Namespace, two: Namespace, settings: Settings) -> Iterator[Link]:
    """Lay a slow cable between two machines for as long as the block runs."""
    names = one.next_interface(), two.next_interface()
    command = [sys.executable, "-m", "tests.mesh_lab.wire", one.name, names[0], two.name, names[1]]
    with subprocess.Popen(
        [*command, json.dumps(asdict(settings))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        if process.stdin is None or process.stdout is None or not process.stdout.readline():
            raise LabError("the wire did not start")
        subnet = lab.subnet()
        ends = [
            Interface.with_address(*end) for end in zip((one, two), names, (f"{subnet}1", f"{subnet}2"), strict=True)
        ]
        for end in ends:
            end.up()
        yield Link(*ends)
        process.stdin.close()


def main() -> None:
    """Be the wire."""
    one, first, two, second, settings = sys.argv[1:]
    taps = _tap(Namespace(one), first), _tap(Namespace(two), second)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    carry(*taps, Settings(**json.loads(settings)))


if __name__ == "__main__":
    main()

"""How warm the board is and what its battery holds, from sysfs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from device.core.offering import Condition

PLAUSIBLE_CELSIUS: Final = (-40.0, 150.0)  # a sensor that says anything else is broken or not connected
FULL_PERCENT: Final = 100.0


def read(sysfs: Path = Path("/sys")) -> Condition:
    """Read the warmest thermal zone and the emptiest battery that is running down.

    Source: kernel documentation, sysfs-class-thermal (temp: thousandths of a degree) and sysfs-class-power (capacity:
    percent; scope Device: of a mouse or the like, which does not feed the board).
    """
    return Condition(celsius=max(_temperatures(sysfs), default=None), percent=min(_charges(sysfs), default=None))


def _temperatures(sysfs: Path) -> Iterator[float]:
    low, high = PLAUSIBLE_CELSIUS
    for zone in sorted(sysfs.glob("class/thermal/thermal_zone*")):
        with contextlib.suppress(OSError, ValueError):
            celsius = int((zone / "temp").read_text()) / 1000
            if low <= celsius <= high:
                yield celsius


def _charges(sysfs: Path) -> Iterator[float]:
    for supply in sorted(sysfs.glob("class/power_supply/*")):
        with contextlib.suppress(OSError, ValueError):
            fed = (supply / "status").read_text().strip() != "Discharging"
            if _word(supply / "type") == "Battery" and _word(supply / "scope") != "Device" and not fed:
                yield min(FULL_PERCENT, max(0.0, float(int((supply / "capacity").read_text()))))


def _word(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

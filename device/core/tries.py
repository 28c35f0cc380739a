"""How often a source may show keys that are none."""

import ipaddress
from collections import OrderedDict
from typing import Final

from device.core.budgets import Pace
from device.errors import TooManyRequestsError

WRONG_PER_MINUTE: Final = 10
MAX_SOURCES: Final = 1024


class Tries:
    """Wrong keys by source.  A right one counts for nothing here: it opens whatever its neighbours have tried."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, Pace] = OrderedDict()

    def check(self, source: str, *, now: float) -> None:
        """Ask before a wrong key is called one.  Raises TooManyRequestsError where there were too many already."""
        wait_s = self._sources.get(network_of(source), Pace()).next_in_s(WRONG_PER_MINUTE, now=now)
        if wait_s:
            raise TooManyRequestsError(f"too many wrong keys from your address; wait {wait_s} s", retry_after_s=wait_s)

    def failed(self, source: str, *, now: float) -> None:
        """Count a wrong key."""
        name = network_of(source)
        self._sources[name] = self._sources.get(name, Pace()).asked(WRONG_PER_MINUTE, now=now)
        self._sources.move_to_end(name)
        if len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)


def network_of(source: str) -> str:
    """The source as it is counted: of IPv6 the first 64 bits, since one machine may use all the others."""
    if ":" not in source:
        return source
    return str(ipaddress.ip_network((source.partition("%")[0], 64), strict=False))

"""Which addresses this node dials: private and link-local ones, and no system service.

Records, static peers and `--at` alike: nothing a stranger says may aim this node at the internet.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final

from mesh.errors import NoOfferError

MIN_PORT: Final = 1024
MAX_PORT: Final = 65_535
DOOR_PORT: Final = 8884
_HOST_PORT: Final = re.compile(
    r"\[(?P<v6>[^\]]+)\](:(?P<p6>\d{1,5}))?|(?P<host>[^:]+)(:(?P<port>\d{1,5}))?|(?P<bare>.+)"
)


def is_dialable(address: str, port: int) -> bool:
    """Whether this node may dial a numeric address (an IPv6 one may name its interface) and port."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return _is_near(parsed) and MIN_PORT <= port <= MAX_PORT


def near_ones(addresses: Iterable[str]) -> tuple[str, ...]:
    """Keep private and link-local addresses, IPv4 first: a record must not aim this node at the internet."""
    good = [one for one in map(ipaddress.ip_address, addresses) if _is_near(one)]
    return tuple(str(address) for address in sorted(good, key=lambda one: one.version))


def host_of(address: Sequence[object]) -> str:
    """Write the host of a socket's address; a link-local one with its interface, without which it leads nowhere."""
    host, *rest = (str(part) for part in address)
    scope = rest[2] if len(rest) > 2 else "0"  # noqa: PLR2004  (host, port, flow, scope) of IPv6
    return host if scope == "0" or "%" in host else f"{host}%{scope}"


def near_first(addresses: Iterable[str], networks: Iterable[str]) -> tuple[str, ...]:
    """Sort addresses: first those in a network of this machine's ("192.168.1.7/24"), last what cannot be dialled.

    A link-local one without its interface cannot: it was told over IPv4.
    """
    here = [ipaddress.ip_network(network, strict=False) for network in networks]

    def distance(address: str) -> int:
        parsed = ipaddress.ip_address(address)
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.is_link_local and parsed.scope_id is None:
            return 2
        return 0 if any(parsed in network for network in here if network.version == parsed.version) else 1

    return tuple(sorted(addresses, key=distance))


def parse_door(text: str) -> tuple[str, int]:
    """Read `HOST`, `HOST:PORT`, `[IPV6]:PORT` or a bare IPv6 address.  Errors: NoOfferError for a port out of range."""
    match = _HOST_PORT.fullmatch(text.strip())
    if match is None:
        raise NoOfferError("no host was given")
    host = match["v6"] or match["host"] or match["bare"]
    port = int(match["p6"] or match["port"] or DOOR_PORT)
    if not MIN_PORT <= port <= MAX_PORT:
        raise NoOfferError(f"port {port} is not one a door listens on")
    return host, port


def _is_near(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    near = address.is_private or address.is_link_local or address.is_loopback
    return near and not (address.is_multicast or address.is_unspecified)

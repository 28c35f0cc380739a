"""This machine's network interfaces: which there are, which are up, and which lead to neighbours."""

import enum
import fcntl
import ipaddress
import re
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ifaddr

AUTO: Final = "auto"
VIRTUAL: Final = re.compile(
    r"(docker\d.*|br-[0-9a-f]{12}|veth.*|virbr\d.*|vnet\d.*|podman\d.*|cni.*|flannel.*|cali.*|lxcbr\d.*|lxdbr\d.*|dummy\d.*|ifb\d.*)"
)
"""Interfaces that `auto` leaves out: containers, virtual machines and stand-ins; no neighbour is behind them."""

SIOCGIFFLAGS: Final = 0x8913  # netdevice(7)
IFF_UP: Final = 0x1
IFF_RUNNING: Final = 0x40
IFREQ: Final = struct.Struct("16sH22x")
IPV6_ADDRESSES: Final = Path("/proc/net/if_inet6")
NOT_YET_OURS: Final = 0x40 | 0x08  # IFA_F_TENTATIVE, IFA_F_DADFAILED: binding to such an address fails


class Kind(enum.StrEnum):
    """What an interface leads to."""

    NETWORK = "network"
    LOOPBACK = "loopback"
    VIRTUAL = "virtual"

    @classmethod
    def of(cls, name: str) -> "Kind":
        """Tell by the name."""
        if name == "lo":
            return cls.LOOPBACK
        return cls.VIRTUAL if VIRTUAL.fullmatch(name) else cls.NETWORK


@dataclass(frozen=True)
class Interface:
    """One interface.  up: switched on, and something at the other end; networks: its addresses with prefix lengths."""

    name: str
    up: bool
    networks: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """What it leads to."""
        return Kind.of(self.name)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses alone."""
        return tuple(network.partition("/")[0] for network in self.networks)


def survey() -> tuple[Interface, ...]:
    """List the interfaces there are now, by name."""
    unready = _unready_addresses()
    networks: dict[str, list[str]] = {name: [] for _, name in socket.if_nameindex()}
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            address = str(ip.ip) if ip.is_IPv4 else str(ip.ip[0])
            if address not in unready:
                networks.setdefault(str(adapter.name), []).append(f"{address}/{ip.network_prefix}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return tuple(Interface(name, _is_up(sock, name), tuple(sorted(networks[name]))) for name in sorted(networks))


def is_wanted(interface: Interface, wanted: Iterable[str]) -> bool:
    """Whether `[discovery] interfaces` means this one; `auto` stands for all that lead to a network."""
    return any(name == interface.name or (name == AUTO and interface.kind is Kind.NETWORK) for name in wanted)


def choose(interfaces: Iterable[Interface], wanted: Sequence[str]) -> tuple[str, ...]:
    """List the addresses of the wanted interfaces, sorted."""
    found = {address for one in interfaces if is_wanted(one, wanted) for address in one.addresses}
    return tuple(sorted(found - {"::1"}))  # no multicast there


def unknown(interfaces: Iterable[Interface], wanted: Sequence[str]) -> tuple[str, ...]:
    """List the wanted names that no interface has now."""
    names = {one.name for one in interfaces}
    return tuple(name for name in wanted if name != AUTO and name not in names)


def _is_up(sock: socket.socket, name: str) -> bool:
    try:
        reply = fcntl.ioctl(sock, SIOCGIFFLAGS, IFREQ.pack(name.encode(), 0))
    except OSError:  # it has gone meanwhile
        return False
    flags: int = IFREQ.unpack(reply)[1]
    return bool(flags & IFF_UP and flags & IFF_RUNNING)


def _unready_addresses() -> frozenset[str]:
    """IPv6 addresses that the kernel has yet to find free, or has found taken."""
    try:
        lines = IPV6_ADDRESSES.read_text().splitlines()
    except OSError:  # no IPv6 on this machine
        return frozenset()
    columns = [line.split() for line in lines]
    return frozenset(
        socket.inet_ntop(socket.AF_INET6, bytes.fromhex(hexadecimal))
        for hexadecimal, _index, _prefix, _scope, flags, *_ in columns
        if int(flags, 16) & NOT_YET_OURS
    )


def routable(addresses: Iterable[str]) -> tuple[str, ...]:
    """Keep the addresses that mean the same on another machine: link-local ones do not."""
    return tuple(one for one in addresses if not ipaddress.ip_address(one.partition("%")[0]).is_link_local)

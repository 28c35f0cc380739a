"""Networks for the lab: namespaces, the links between them, and what goes wrong on a link.

Nothing is ever made outside the lab's own namespaces: both ends of a link are born inside.  Loss is done by iptables at
the receiving end, for a dropped packet on its way out would be an error at the sender.
"""

import contextlib
import ctypes
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

TOOLS: Final = ("ip", "tc", "iptables")
PREFIX: Final = "hearthlab"
HANDLES: Final = Path("/run/netns")
CLONE_NEWNET: Final = 0x40000000
MDNS_PORT: Final = 5353
_SYSCTLS: Final = {
    # An address can be used at once: no second of looking for duplicates on a cable of two ends.
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/router_solicitations": "0",
}


class LabError(Exception):
    """A command of the lab failed; the message holds what it said."""


@dataclass(eq=False)
class Namespace:
    """A network of its own, as a machine has it, with `lo` up and nothing else."""

    name: str
    _count: Iterator[int] = field(default_factory=itertools.count, repr=False)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let the calling thread, and what it starts, live here: sockets it opens, processes, later threads."""
        with _opened(Path("/proc/thread-self/ns/net")) as home, _opened(HANDLES / self.name) as there:
            _setns(there)
            try:
                yield
            finally:
                _setns(home)

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command here and return what it printed.  Errors: LabError."""
        with self.entered():
            return _run(*command, check=check)

    def next_interface(self) -> str:
        """Name an interface that is not there yet, as a kernel would."""
        return f"eth{next(self._count)}"

    def write_sysctls(self) -> None:
        """Set what makes tests fast without making them untrue."""
        with self.entered():
            for name, value in _SYSCTLS.items():
                (Path("/proc/sys") / name).write_text(value)


@dataclass(eq=False)
class Interface:
    """One end of a link.  `address` is IPv4 or, on a link of IPv6 alone, an address of fd77::/16."""

    namespace: Namespace
    name: str
    address: str

    @classmethod
    def with_address(cls, namespace: Namespace, name: str, address: str) -> Self:
        """Give an interface that is there its address."""
        length, more = ("64", ("nodad",)) if ":" in address else ("24", ())
        _ip(namespace, "addr", "add", f"{address}/{length}", "dev", name, *more)
        return cls(namespace, name, address)

    def up(self) -> float:
        """Bring it up; return when (monotonic)."""
        _ip(self.namespace, "link", "set", self.name, "up")
        return time.monotonic()

    def down(self) -> None:
        """Take it down, as when the radio is switched off; its addresses of IPv4 stay."""
        _ip(self.namespace, "link", "set", self.name, "down")

    def strip(self) -> None:
        """Take its IPv4 address away."""
        _ip(self.namespace, "addr", "del", f"{self.address}/24", "dev", self.name)

    def link_local(self) -> str:
        """Tell the IPv6 address the interface has given itself."""
        [shown] = json.loads(self.namespace.run("ip", "-j", "-6", "addr", "show", "dev", self.name, "scope", "link"))
        return str(shown["addr_info"][0]["local"])

    def readdress(self, address: str) -> float:
        """Give it another IPv4 address in place of the one it has, and bring it up; return when."""
        _ip(self.namespace, "-4", "addr", "flush", "dev", self.name)
        _ip(self.namespace, "addr", "add", f"{address}/24", "dev", self.name)
        self.address = address
        return self.up()

    def shape(self, mbit: float, *, queue_ms: int = 20) -> None:
        """Let so much leave, and so much wait."""
        limits = ("rate", f"{mbit}mbit", "burst", "64kb", "latency", f"{queue_ms}ms")
        _tc(self.namespace, "qdisc", "replace", "dev", self.name, "root", "tbf", *limits)

    def drop(self, share: float = 1.0) -> None:
        """Lose what arrives: all of it without a word, or a share of the packets by chance."""
        chance = () if share >= 1.0 else ("-m", "statistic", "--mode", "random", "--probability", str(share))
        self._filter("-I", *chance)

    def drop_mdns(self) -> None:
        """Lose multicast DNS, as access points do that think little of it."""
        self._filter("-I", "-p", "udp", "--dport", str(MDNS_PORT))

    def heal(self) -> None:
        """Take away every loss and limit, and bring it up."""
        for program in ("iptables", "ip6tables"):
            self.namespace.run(program, "-F", "INPUT")
        with contextlib.suppress(LabError):  # there was no limit
            _tc(self.namespace, "qdisc", "del", "dev", self.name, "root")
        self.up()

    def _filter(self, how: str, *matches: str) -> None:
        for program in ("iptables", "ip6tables"):
            self.namespace.run(program, how, "INPUT", "-i", self.name, *matches, "-j", "DROP")


@dataclass(eq=False)
class Link:
    """A cable between two namespaces."""

    one: Interface
    two: Interface

    @property
    def ends(self) -> tuple[Interface, Interface]:
        """Both interfaces."""
        return self.one, self.two

    def drop(self, share: float = 1.0) -> None:
        """Lose what goes either way."""
        for end in self.ends:
            end.drop(share)

    def shape(self, mbit: float, *, queue_ms: int = 20) -> None:
        """Limit both directions."""
        for end in self.ends:
            end.shape(mbit, queue_ms=queue_ms)

    def heal(self) -> None:
        """Make it whole again."""
        for end in self.ends:
            end.heal()


class Lab:
    """Makes namespaces and links, and takes them all away at its end; those of a lab that was killed too."""

    def __init__(self) -> None:
        self._owner = f"{PREFIX}-{os.getpid()}-{_started(os.getpid())}"
        self._namespaces: list[Namespace] = []
        self._subnets = itertools.count()

    def __enter__(self) -> Self:
        sweep()
        return self

    def __exit__(self, *_: object) -> None:
        for namespace in self._namespaces:
            _delete(namespace.name)

    def namespace(self, label: str) -> Namespace:
        """Make a machine's network; the label is for people."""
        namespace = Namespace(f"{self._owner}-{_serial()}-{label}")
        _run("ip", "netns", "add", namespace.name)
        self._namespaces.append(namespace)
        namespace.write_sysctls()
        _ip(namespace, "link", "set", "lo", "up")
        return namespace

    def subnet(self) -> str:
        """Choose a private network nobody here uses; add the host's number to it."""
        return f"10.77.{next(self._subnets)}."

    def link(self, one: Namespace, two: Namespace, *, ipv6_only: bool = False, up: bool = True) -> Link:
        """Lay a cable between two machines: nobody else is on it."""
        names = one.next_interface(), two.next_interface()
        peer = ("peer", "name", names[1], "netns", two.name)
        _ip(one, "link", "add", names[0], "type", "veth", *peer)
        subnet = f"fd77:{next(self._subnets):x}::" if ipv6_only else self.subnet()
        first, second = (
            Interface.with_address(*end) for end in zip((one, two), names, (f"{subnet}1", f"{subnet}2"), strict=True)
        )
        if up:
            first.up()
            second.up()
        return Link(first, second)

    def lan(self, *members: Namespace) -> "Lan":
        """Put machines on one switch."""
        return self._lan(self.subnet(), itertools.count(1), members)

    def islands(self, one: Iterable[Namespace], two: Iterable[Namespace]) -> tuple["Lan", "Lan", "Trunk"]:
        """Put machines on two switches that are one network for as long as the cable between them is plugged in."""
        subnet, hosts = self.subnet(), itertools.count(1)
        first, second = (self._lan(subnet, hosts, members) for members in (one, two))
        return first, second, first.trunk(second)

    def _lan(self, subnet: str, hosts: Iterator[int], members: Iterable[Namespace]) -> "Lan":
        lan = Lan(self.namespace("switch"), subnet, hosts)
        for member in members:
            lan.attach(member)
        return lan


class Lan:
    """A switch in a namespace of its own, and what is plugged into it."""

    def __init__(self, switch: Namespace, subnet: str, hosts: Iterator[int]) -> None:
        self.subnet = subnet
        self.interfaces: dict[Namespace, Interface] = {}
        self._switch = switch
        self._hosts = hosts  # numbers nobody has on this subnet
        # No learning of groups: a switch without a querier would stop passing mDNS on.
        _ip(switch, "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        _ip(switch, "link", "set", "br0", "up")

    def attach(self, machine: Namespace, *, up: bool = True) -> Interface:
        """Plug a machine in."""
        host = next(self._hosts)
        inside, port = machine.next_interface(), f"port{host}"
        _ip(machine, "link", "add", inside, "type", "veth", "peer", "name", port, "netns", self._switch.name)
        _ip(self._switch, "link", "set", port, "master", "br0", "up")
        interface = Interface.with_address(machine, inside, f"{self.subnet}{host}")
        self.interfaces[machine] = interface
        if up:
            interface.up()
        return interface

    def trunk(self, other: "Lan") -> "Trunk":
        """Join two switches by a cable that can be pulled."""
        name = "trunk"
        _ip(self._switch, "link", "add", name, "type", "veth", "peer", "name", name, "netns", other._switch.name)
        for switch in (self._switch, other._switch):
            _ip(switch, "link", "set", name, "master", "br0", "up")
        return Trunk(self._switch, name)


@dataclass(frozen=True)
class Trunk:
    """The cable between two switches; no machine sees at its own interface that it is pulled."""

    switch: Namespace
    name: str

    def pull(self) -> None:
        """Part the two networks."""
        _ip(self.switch, "link", "set", self.name, "down")

    def plug(self) -> float:
        """Join them again; return when (monotonic)."""
        _ip(self.switch, "link", "set", self.name, "up")
        return time.monotonic()


def sweep() -> list[str]:
    """End what labs left behind whose process is gone; return the names of their namespaces."""
    gone = []
    for handle in sorted(HANDLES.glob(f"{PREFIX}-*")) if HANDLES.is_dir() else []:
        _, pid, started, *_ = handle.name.split("-")
        if _started(int(pid)) != int(started):
            _delete(handle.name)
            gone.append(handle.name)
    return gone


def _delete(name: str) -> None:
    """Remove a namespace of a lab's and what still runs in it; its interfaces go with it."""
    for pid in _run("ip", "netns", "pids", name, check=False).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    _run("ip", "netns", "del", name, check=False)


def _started(pid: int) -> int:
    """When a process began, in ticks since boot: a number of its own beside the id, which is used again; 0: none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except FileNotFoundError:
        return 0


_SERIALS: Final = itertools.count()


def _serial() -> int:
    return next(_SERIALS)


def _ip(namespace: Namespace, *words: str) -> None:
    _run("ip", "-n", namespace.name, *words)


def _tc(namespace: Namespace, *words: str) -> None:
    _run("tc", "-n", namespace.name, *words)


def _run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _setns(descriptor: int) -> None:
    """Move this thread into a namespace (`os.setns` is there from Python 3.12 on)."""
    if _LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

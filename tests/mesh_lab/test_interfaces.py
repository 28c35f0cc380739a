"""Networks as they are at home: late, renumbered, doubled, without IPv4, without multicast, with Docker on them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh_lab.conftest import Measured
from tests.mesh_lab.net import TOOLS, Lab, Link, Namespace
from tests.mesh_lab.nodes import Node, all_linked, living, settle, start_all

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS)]

DOCKER_ADDRESS = "172.17.0.1"


@pytest.fixture
def machines(lab: Lab) -> tuple[Namespace, Namespace]:
    """Two machines that nothing joins yet."""
    return lab.namespace("anna"), lab.namespace("ben")


@pytest.fixture
def nodes(machines: tuple[Namespace, Namespace], tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Two members that do not run yet."""
    anna, ben = (Node(machine, tmp_path / name) for machine, name in zip(machines, ("anna", "ben"), strict=True))
    settle(anna, ben)
    with living(anna, ben):
        yield anna, ben


def test_an_interface_that_comes_up_after_the_start(lab: Lab, nodes: tuple[Node, Node], measured: Measured) -> None:
    """A radio is slower than the service: its neighbour is found once it is there."""
    anna, ben = nodes
    cable = lab.link(anna.namespace, ben.namespace, up=False)
    cable.one.strip()
    cable.one.down()
    cable.two.up()
    start_all(anna, ben)
    up = cable.one.readdress(cable.one.address)
    measured("interface up after the start: linked", all_linked(anna, ben) - up)


def test_an_address_that_changes(lab: Lab, nodes: tuple[Node, Node], measured: Measured) -> None:
    """The router gives out another address: the neighbours follow."""
    anna, ben = nodes
    cable = lab.link(anna.namespace, ben.namespace)
    start_all(anna, ben)
    all_linked(anna, ben)
    new = f"{cable.two.address.rpartition('.')[0]}.77"
    changed = cable.two.readdress(new)
    anna.leaves("linked", ben)
    measured("address changed: linked", all_linked(anna, ben) - changed)
    assert new in anna.ask("nearby")[ben.node_id]
    assert anna.ask("ping", peer=ben.node_id, count=3)


def test_two_interfaces_and_one_of_them_dies(lab: Lab, nodes: tuple[Node, Node], measured: Measured) -> None:
    """Whichever the link runs over: when it swallows everything, the other one is taken."""
    anna, ben = nodes
    cables = [lab.link(anna.namespace, ben.namespace) for _ in range(2)]
    start_all(anna, ben)
    all_linked(anna, ben)
    for dead, sound in (cables, reversed(cables)):
        dead.drop()
        [note] = anna.tells(ben, 1).heard()
        measured("two interfaces, one dies silently: a note comes over the other after", note.at - note.sent)
        dead.heal()
        sound.heal()
        all_linked(anna, ben)


def test_ipv6_alone(lab: Lab, nodes: tuple[Node, Node], measured: Measured) -> None:
    """No address of IPv4 anywhere: found, linked, talked to."""
    anna, ben = nodes
    lab.link(anna.namespace, ben.namespace, ipv6_only=True)
    start_all(anna, ben)
    measured("IPv6 alone: linked after the start", all_linked(anna, ben) - ben.started_at)
    assert anna.ask("ping", peer=ben.node_id, count=3)
    assert all(":" in address for address in anna.ask("nearby")[ben.node_id])


def test_link_local_addresses_alone(lab: Lab, nodes: tuple[Node, Node], measured: Measured) -> None:
    """A cable between two boards without any router: the addresses they give themselves are enough."""
    anna, ben = nodes
    cable = lab.link(anna.namespace, ben.namespace)
    for end in cable.ends:
        end.strip()
    start_all(anna, ben)
    measured("link-local IPv6 alone: linked after the start", all_linked(anna, ben) - ben.started_at)
    assert anna.ask("ping", peer=ben.node_id, count=3)


def test_link_local_addresses_without_multicast(
    lab: Lab, machines: tuple[Namespace, Namespace], tmp_path: Path
) -> None:
    """A link-local address, named with its interface, is enough to join at; both ends know each other's from it."""
    here, there = machines
    cable = lab.link(here, there)
    for end in cable.ends:
        end.strip()
        end.drop_mdns()
    anna, ben = Node(here, tmp_path / "anna"), Node(there, tmp_path / "ben")
    with living(anna, ben):
        start_all(anna, ben)
        ben.ask("join", words=anna.ask("offer"), at=f"{cable.one.link_local()}%{cable.two.name}")
        all_linked(anna, ben, within_s=15)


def test_multicast_blocked(lab: Lab, machines: tuple[Namespace, Namespace], tmp_path: Path, measured: Measured) -> None:
    """An access point that drops mDNS: join by address, and a static peer after the next start."""
    here, there = machines
    cable = lab.link(here, there)
    for end in cable.ends:
        end.drop_mdns()
    anna, ben = Node(here, tmp_path / "anna"), Node(there, tmp_path / "ben")
    with living(anna, ben):
        start_all(anna, ben)
        assert ben.ask("join", words=anna.ask("offer"), at=cable.one.address) == "anna"
        all_linked(anna, ben)
        ben.stop()
        anna.stop()
        ben.options["static_peers"] = [cable.one.address]
        start_all(anna, ben)
        measured("multicast blocked, static peer: linked after the start", all_linked(anna, ben) - ben.started_at)


def test_bridges_of_docker_are_left_out(lab: Lab, nodes: tuple[Node, Node]) -> None:
    """The same address on every machine is nobody's: it is neither announced nor listened to."""
    anna, ben = nodes
    cable = lab.link(anna.namespace, ben.namespace)
    for node in nodes:
        docker_bridge(node.namespace)
    start_all(anna, ben)
    all_linked(anna, ben)
    for node, other, end in ((anna, ben, cable.two), (ben, anna, cable.one)):
        announced = node.ask("nearby")[other.node_id]
        assert end.address in announced
        assert DOCKER_ADDRESS not in announced
        assert all(address.startswith("fe80:") for address in announced if address != end.address)


def docker_bridge(machine: Namespace) -> None:
    """Add what Docker adds: a bridge with an address, and a container's cable plugged into it."""
    for words in (
        "link add docker0 type bridge",
        f"addr add {DOCKER_ADDRESS}/16 dev docker0",
        "link set docker0 up",
        "link add veth1a2b3c4 type veth peer name veth5d6e7f8",
        "link set veth1a2b3c4 master docker0 up",
        "link set veth5d6e7f8 up",
    ):
        machine.run("ip", *words.split())


def test_a_cable_plugged_in_much_later(lab: Lab, nodes: tuple[Node, Node], measured: Measured) -> None:
    """Two members far apart are carried to each other."""
    anna, ben = nodes
    start_all(anna, ben)
    cable: Link = lab.link(anna.namespace, ben.namespace, up=False)
    up = max(end.up() for end in cable.ends)
    measured("cable plugged in after the start: linked", all_linked(anna, ben) - up)

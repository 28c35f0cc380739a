"""A node dials its own surroundings, whatever it is told."""

import pytest

from mesh.addresses import host_of, is_dialable, near_first, parse_door
from mesh.errors import NoOfferError


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.9", "172.16.0.1", "127.0.0.1", "169.254.3.4", "fe80::1%eth0", "fd00::1"]
)
def test_near_addresses_are_dialled(address: str) -> None:
    """Private, link-local and loopback ones."""
    assert is_dialable(address, 8884)


FAR = ["8.8.8.8", "2606:4700::1111", "224.0.0.251", "0.0.0.0", "::", "ff02::fb", "host", ""]  # noqa: S104  not bound


@pytest.mark.parametrize("address", FAR)
def test_far_addresses_are_not(address: str) -> None:
    """Nor groups, nor nowhere, nor names."""
    assert not is_dialable(address, 8884)


@pytest.mark.parametrize("port", [0, 22, 1023, 65_536])
def test_system_ports_are_not_dialled(port: int) -> None:
    """Only 1024 and above."""
    assert not is_dialable("10.0.0.1", port)


@pytest.mark.parametrize(
    ("text", "door"),
    [
        ("pi.local", ("pi.local", 8884)),
        (" 10.0.0.1:9000 ", ("10.0.0.1", 9000)),
        ("fe80::1", ("fe80::1", 8884)),
        ("[fe80::1%eth0]:9000", ("fe80::1%eth0", 9000)),
        ("[fd00::1]", ("fd00::1", 8884)),
    ],
)
def test_doors_are_written_as_people_do(text: str, door: tuple[str, int]) -> None:
    """With or without a port, in both families."""
    assert parse_door(text) == door


@pytest.mark.parametrize("text", ["", "  ", "10.0.0.1:80", "10.0.0.1:99999"])
def test_other_texts_are_no_doors(text: str) -> None:
    """Nothing, or a port out of range."""
    with pytest.raises(NoOfferError):
        parse_door(text)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (("192.168.1.7", 8884), "192.168.1.7"),
        (("fd00::7", 8884, 0, 0), "fd00::7"),
        (("fe80::7", 8884, 0, 3), "fe80::7%3"),
        (("fe80::7%eth0", 8884, 0, 3), "fe80::7%eth0"),
        (("",), ""),
    ],
)
def test_a_link_local_host_keeps_its_interface(address: tuple[object, ...], host: str) -> None:
    """It is the only way there."""
    assert host_of(address) == host


def test_near_addresses_come_first() -> None:
    """Who has two interfaces is tried first where this machine is too; a link-local address needs its interface."""
    told = ("10.0.0.5", "192.168.1.5", "fd00::5", "fe80::5", "fe80::5%3")
    here = ("127.0.0.1/8", "192.168.1.7/24", "fe80::7/64")
    assert near_first(told, here) == ("192.168.1.5", "fe80::5%3", "10.0.0.5", "fd00::5", "fe80::5")
    assert near_first(told, ()) == ("10.0.0.5", "192.168.1.5", "fd00::5", "fe80::5%3", "fe80::5")

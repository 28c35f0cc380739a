"""Which interfaces lead to neighbours."""

from pathlib import Path

import pytest

from mesh import interfaces
from mesh.interfaces import Interface, Kind, choose, survey, unknown

LO = Interface("lo", up=True, networks=("127.0.0.1/8", "::1/128"))
ETH = Interface("eth0", up=True, networks=("192.168.1.7/24", "fe80::7/64"))
WLAN = Interface("wlan0", up=False)
DOCKER = Interface("docker0", up=True, networks=("172.17.0.1/16",))
ALL = (DOCKER, ETH, LO, WLAN)


def test_interfaces_are_chosen_by_name() -> None:
    """`auto` leaves out loopback and containers; names mean themselves; ::1 carries no multicast."""
    assert choose(ALL, ("auto",)) == ("192.168.1.7", "fe80::7")
    assert choose(ALL, ("lo",)) == ("127.0.0.1",)
    assert choose(ALL, ("docker0", "auto")) == ("172.17.0.1", "192.168.1.7", "fe80::7")
    assert choose(ALL, ("nosuch0",)) == ()


def test_names_that_are_none_are_told() -> None:
    """`auto` always means something, one that is switched off is there all the same."""
    assert unknown(ALL, ("auto", "wlan0", "wlan1", "eht0")) == ("wlan1", "eht0")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lo", Kind.LOOPBACK),
        ("docker0", Kind.VIRTUAL),
        ("veth12ab", Kind.VIRTUAL),
        ("br-1f2e3d4c5b6a", Kind.VIRTUAL),
        ("virbr0", Kind.VIRTUAL),
        ("podman0", Kind.VIRTUAL),
        ("br-lan", Kind.NETWORK),
        ("br0", Kind.NETWORK),
        ("lo0", Kind.NETWORK),
        ("wlan0", Kind.NETWORK),
        ("eth0", Kind.NETWORK),
        ("bat0", Kind.NETWORK),
    ],
)
def test_what_an_interface_leads_to(name: str, kind: Kind) -> None:
    """Containers' bridges are no neighbourhood; a home's own bridge is one."""
    assert Kind.of(name) is kind


def test_this_machine_is_surveyed() -> None:
    """Its loopback interface is up and has its address."""
    [lo] = [one for one in survey() if one.name == "lo"]
    assert lo.up
    assert "127.0.0.1/8" in lo.networks
    assert "127.0.0.1" in lo.addresses


@pytest.mark.parametrize(("flags", "ready"), [("80", True), ("c0", False), ("88", False)])
def test_an_address_that_is_not_ours_yet_is_left_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: str,
    ready: bool,  # noqa: FBT001  a table
) -> None:
    """While the kernel looks for another owner of an IPv6 address, or has found one, binding to it fails."""
    monkeypatch.setattr(interfaces, "IPV6_ADDRESSES", tmp_path / "if_inet6")
    before = {address for one in survey() for address in one.addresses}
    lines = [f"00000000000000000000000000000001 01 80 10 {flags}       lo\n"]
    (tmp_path / "if_inet6").write_text("".join(lines))
    after = {address for one in survey() for address in one.addresses}
    assert before - after == (set() if ready else before & {"::1"})

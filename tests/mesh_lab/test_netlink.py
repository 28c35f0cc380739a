"""The kernel's word that the network has changed."""

import asyncio

import pytest

from mesh.netlink import network_news
from tests.mesh_lab.net import TOOLS, Interface, Lab

pytestmark = [pytest.mark.lab, pytest.mark.program(*TOOLS)]


async def test_every_change_is_told(lab: Lab) -> None:
    """A link that comes, one that goes up, addresses of both kinds: each wakes whoever waits."""
    machine, other = lab.namespace("told"), lab.namespace("other")
    with machine.entered(), network_news() as news:
        cable = lab.link(machine, other, up=False)
        await asyncio.wait_for(news.wait(), 5)
        for change in (
            cable.one.up,
            cable.one.strip,
            lambda: Interface.with_address(machine, cable.one.name, "fd77::1"),
            cable.one.down,
        ):
            news.clear()
            change()
            await asyncio.wait_for(news.wait(), 5)


async def test_what_nobody_waits_for_is_no_trouble(lab: Lab) -> None:
    """More news than the kernel keeps: the last wait ends all the same, and nothing is raised."""
    machine = lab.namespace("busy")
    with machine.entered(), network_news() as news:
        for number in range(300):
            machine.run("ip", "addr", "add", f"10.9.{number // 250}.{1 + number % 250}/32", "dev", "lo")
        await asyncio.wait_for(news.wait(), 5)

"""A whole node with a LAN, its owner, and a phone on the Wi-Fi."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from device.api import GuestAccess, NewKey
from device.client import DaemonClient
from device.node import HearthNode
from tests.device.http.phones import reaching, wlan
from tests.sim.hearth import hearth_config, living


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> AsyncIterator[HearthNode]:
    """A node with a network, its LAN still closed."""
    config = hearth_config(
        tmp_path_factory.mktemp("g"), name="Kitchen box", context_tokens=16_384, interfaces=("wlan0",)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        async with living(config, holds="tiny", networks=wlan) as node:
            yield node


@pytest.fixture
def owner(node: HearthNode) -> DaemonClient:
    """The owner's command."""
    return DaemonClient(node.config.socket_path)


@pytest_asyncio.fixture(loop_scope="module")
async def guests(owner: DaemonClient) -> AsyncIterator[GuestAccess]:
    """The LAN, open to guests who may ask much."""
    yield await owner.open_guests(per_minute=1000, per_day=0)
    await owner.close_guests()


@pytest_asyncio.fixture(loop_scope="module")
async def phone(node: HearthNode, guests: GuestAccess) -> AsyncIterator[httpx.AsyncClient]:
    """A phone on the Wi-Fi, without a key."""
    assert guests.open
    async with reaching(node) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def make_key(owner: DaemonClient) -> AsyncIterator[Callable[..., Awaitable[NewKey]]]:
    """Make keys that are gone after the test."""
    made: list[str] = []

    async def make(*scopes: str) -> NewKey:
        new = await owner.add_key(f"key {len(made)}", scopes=scopes)
        made.append(new.key.id)
        return new

    yield make
    for one in made:
        await owner.remove_key(one)

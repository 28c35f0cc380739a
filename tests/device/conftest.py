"""What tests of the daemon share: a cache of their own, and a street of nodes with a tiny model."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.models.waiting import until
from tests.sim.home import Home
from tests.sim.mesh_net import SimulatedNet
from tests.sim.street import Street


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests of a process, so that the tiny model is converted once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


@pytest.fixture
async def street(tmp_path: Path, shared_cache: Path) -> AsyncIterator[Street]:
    """`spark` has no model; `ember` and `attic` hold the same one, and `ember` is asked first."""
    street = Street(SimulatedNet())
    async with AsyncExitStack() as stack:
        for name in ("spark", "ember", "attic"):
            home = Home(street.net, name, tmp_path, shared_cache, still_at_it_s=0.2)
            await stack.enter_async_context(home.open(holds="" if name == "spark" else "tiny"))
            street.homes[name] = home
        street.net.link(street["spark"].mesh, street["ember"].mesh)
        street.net.link(street["spark"].mesh, street["attic"].mesh, hops=2)
        await until(
            lambda: all(street["spark"].queries.models_of(street.id(name)) for name in ("ember", "attic")),
        )
        yield street

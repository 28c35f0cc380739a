"""One node with a tiny model for all tests of the APIs, and a client for each of its two sockets."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from device.node import HearthNode
from mesh.certificates import PageCertificate
from tests.sim.hearth import hearth_config, living

CONTEXT_TOKENS = 16_384


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> AsyncIterator[HearthNode]:
    """A node that lives as long as the module's tests."""
    config = hearth_config(tmp_path_factory.mktemp("h"), context_tokens=CONTEXT_TOKENS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        async with living(config, holds="tiny") as node:
            yield node


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def public(node: HearthNode) -> AsyncIterator[httpx.AsyncClient]:
    """A program on this machine."""
    http = node.administration.http
    async with httpx.AsyncClient(base_url=f"http://{http.host}:{http.port}", timeout=60, trust_env=False) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def owner(node: HearthNode) -> AsyncIterator[httpx.AsyncClient]:
    """The owner's command."""
    transport = httpx.AsyncHTTPTransport(uds=str(node.config.socket_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://hearth", timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> PageCertificate:
    """The certificate that a server over TLS shows."""
    return PageCertificate.open(tmp_path_factory.mktemp("tls") / "https.pem", host="ember.local")

"""Whether a node is alive, and whether it can take questions."""

from pathlib import Path

import httpx
import pytest

from tests.sim.hearth import hearth_config, living

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_node_with_a_model_is_ready(public: httpx.AsyncClient) -> None:
    """It lacks nothing."""
    reply = await public.get("/readyz")
    assert (reply.status_code, reply.json()) == (200, {"ready": True, "missing": []})


async def test_a_node_without_a_model_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It is alive, not ready, and says how to get one; and a node that stops takes nothing more."""
    folder: Path = tmp_path_factory.mktemp("r")
    async with living(hearth_config(folder)) as node:
        http = node.administration.http
        async with httpx.AsyncClient(base_url=f"http://{http.host}:{http.port}", trust_env=False) as client:
            assert (await client.get("/health")).status_code == 200
            reply = await client.get("/readyz")
        missing = reply.json()["missing"]
        assert (reply.status_code, reply.json()["ready"], len(missing)) == (503, False, 1)
        assert "hearth models pull" in missing[0]
        await node.administration.queries.stop(grace_s=0)
        assert len(node.administration.missing()) == 2

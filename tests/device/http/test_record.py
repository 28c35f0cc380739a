"""The record over HTTP: the owner's alone, and bounded in what it takes."""

import httpx
import pytest

from device.client import DaemonClient, RequestRefusedError
from device.node import HearthNode

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATHS = [
    ("GET", "/api/log"),
    ("GET", "/api/contributions"),
    ("POST", "/api/models/publish"),
    ("POST", "/api/models/retire"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_only_the_owner_reads_and_writes_it(public: httpx.AsyncClient, method: str, path: str) -> None:
    """At the public door there is no such path without a key that says so."""
    assert (await public.request(method, path, json={"name": "tiny"})).status_code in (401, 403, 404)


@pytest.mark.parametrize(
    ("query", "param"),
    [("last=-1", "last"), ("last=many", "last"), ("last=" + "9" * 10, "last"), ("kind=" + "k" * 513, "kind")],
)
async def test_what_is_asked_for_is_bounded(owner: httpx.AsyncClient, query: str, param: str) -> None:
    """Anything else is named and refused."""
    reply = await owner.get(f"/api/log?{query}")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_a_reason_is_a_line(owner: httpx.AsyncClient) -> None:
    """Of so many characters."""
    for reason in ("two\nlines", "r" * 201, 5):
        reply = await owner.post("/api/models/retire", json={"name": "tiny", "reason": reason})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "reason")


async def test_without_a_community_there_is_no_record(node: HearthNode) -> None:
    """Which is said by each of them, and changes nothing of cards and lists."""
    client = DaemonClient(node.config.socket_path)
    with pytest.raises(RequestRefusedError) as log:
        assert [line async for line in client.log()]
    with pytest.raises(RequestRefusedError) as publishing:
        assert [step async for step in client.publish("tiny")]
    with pytest.raises(RequestRefusedError) as retiring:
        await client.retire("tiny")
    with pytest.raises(RequestRefusedError) as giving:
        await client.contributions()
    assert {one.value.code for one in (log, publishing, retiring, giving)} == {"no_community"}
    assert (await client.card("tiny")).sharing.published_by == ()
    [model] = (await client.mesh_models()).models
    assert (model.published_by, model.retired) == ((), "")

"""GET /metrics over the real API: Prometheus' own parser reads it, and the numbers are the node's."""

import asyncio
import socket

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from device.node import HearthNode
from mesh.counters import Counted

pytestmark = pytest.mark.asyncio(loop_scope="module")

Sample = tuple[str, tuple[tuple[str, str], ...]]


async def scraped(client: httpx.AsyncClient) -> dict[Sample, float]:
    """Read every sample by its name and labels."""
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    assert len(found) == sum(bool(line) and not line.startswith("#") for line in response.text.splitlines())
    return found


async def test_each_metric_has_a_type_and_a_help_line(public: httpx.AsyncClient) -> None:
    """What promtool would complain of does not occur: counters end in _total, nothing is untyped."""
    text = (await public.get("/metrics")).text
    families = list(text_string_to_metric_families(text))
    assert {family.type for family in families} == {"counter", "gauge"}
    assert all(family.documentation for family in families)
    assert all(line.split()[2].endswith("_total") for line in text.splitlines() if line.endswith(" counter"))


async def test_the_numbers_are_the_nodes_own(public: httpx.AsyncClient, node: HearthNode) -> None:
    """Version, memory, uptime, links by state and questions."""
    found = await scraped(public)
    status = node.administration.status()
    assert found["hearth_build_info", (("version", status.version),)] == 1
    assert 0 < found["hearth_uptime_seconds", ()] <= status.uptime_s + 1
    assert found["process_resident_memory_bytes", ()] > 1e6
    assert found["hearth_nodes_reachable", ()] == 0
    states = {labels[0][1] for name, labels in found if name == "hearth_links"}
    assert states == {"linked", "reachable", "connecting", "unreachable", "blocked"}
    reasons = {f"dropped_{labels[0][1]}" for name, labels in found if name == "hearth_dropped_total"}
    assert reasons >= {str(name) for name in Counted if name.startswith("dropped_")}


async def test_a_question_counts(public: httpx.AsyncClient) -> None:
    """Asked here, answered here: one more asked, none in hand afterwards."""
    before = await scraped(public)
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
    assert (await public.post("/v1/chat/completions", json=body)).status_code == 200
    after = await scraped(public)
    assert after["hearth_queries_asked_total", ()] == before["hearth_queries_asked_total", ()] + 1
    assert after["hearth_queries_running", ()] == 0


async def test_noise_at_the_door_is_counted(public: httpx.AsyncClient, node: HearthNode) -> None:
    """A stranger that sends no message of a door is hung up on, and the scrape says so."""
    before = await scraped(public)
    port = node.administration.status().door.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, family=socket.AF_INET)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    after = await scraped(public)
    assert after["hearth_hung_up_at_door_total", ()] == before["hearth_hung_up_at_door_total", ()] + 1


async def test_the_owner_reads_them_too(owner: httpx.AsyncClient) -> None:
    """On the unix socket."""
    assert await scraped(owner)


async def test_a_web_page_does_not(public: httpx.AsyncClient) -> None:
    """Numbers of a node are no page's business."""
    assert (await public.get("/metrics", headers={"Origin": "http://a.example"})).status_code == 403

"""The owner's API of a real node, through the client that the command and the terminal use."""

import httpx
import pytest

from device.client import AnswerFinished, ChatMessage, DaemonClient, RequestRefusedError, Sampling
from device.node import HearthNode

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def client(node: HearthNode) -> DaemonClient:
    """The typed client."""
    return DaemonClient(node.config.socket_path)


async def test_the_status_is_the_nodes(client: DaemonClient, node: HearthNode) -> None:
    """Ports as they are, not as they were configured."""
    status = await client.status()
    http = node.administration.http
    assert (status.name, status.http.port, status.community) == ("ember", http.port, None)
    assert status.mqtt.port
    assert status.door.port
    assert status.memory.rss_bytes > 1_000_000
    assert [model.name for model in status.models] == ["tiny"]


async def test_an_answer_through_the_socket(client: DaemonClient, node: HearthNode) -> None:
    """The owner's socket serves the public API too."""
    messages = [ChatMessage(role="user", content="hello")]
    items = [item async for item in client.ask(messages, sampling=Sampling(max_tokens=5))]
    assert isinstance(items[-1], AnswerFinished)
    assert items[-1].answerer.node_id == node.administration.mesh.node_id
    assert items[-1].completion_tokens == 5


async def test_models_are_listed_shown_and_refused(client: DaemonClient) -> None:
    """By name and by digest; an unknown one is an error with a hint."""
    listed = await client.models()
    (model,) = listed.models
    assert (model.name, model.licence) == ("tiny", "CC0-1.0")
    assert await client.model(model.digest[:10]) == model
    assert {entry.name: entry.present for entry in listed.catalogue}["smollm2-135m"] is False
    for refused in (client.model("absent"), client.remove("absent")):
        with pytest.raises(RequestRefusedError) as raised:
            await refused
        assert (raised.value.code, raised.value.status) == ("model_not_found", 404)
        assert raised.value.hint


async def test_a_pull_of_nothing_ends_with_an_error(client: DaemonClient) -> None:
    """In the stream, since that has begun by then."""
    with pytest.raises(RequestRefusedError, match="absent"):
        assert [step async for step in client.pull("absent")]


async def test_a_lone_node_has_no_peers(client: DaemonClient) -> None:
    """And says so; who is not there cannot be blocked or forgotten."""
    peers = await client.peers()
    assert (peers.neighbours, peers.members) == ((), ())
    for refused in (client.block("zzzz"), client.unblock("zzzz"), client.forget("zzzz")):
        with pytest.raises(RequestRefusedError) as raised:
            await refused
        assert raised.value.code == "node_not_found"


async def test_a_board_that_has_not_changed_is_not_accepted(client: DaemonClient) -> None:
    """There is nothing to accept, and a hint what may be meant."""
    with pytest.raises(RequestRefusedError, match="on this very board") as raised:
        await client.accept_board()
    assert "hearth rekey" in raised.value.hint


async def test_the_doctor_sees_a_node_alone(client: DaemonClient) -> None:
    """It belongs to no community, and is told how to; its own broker and door are well."""
    diagnosis = await client.doctor()
    assert (diagnosis.sound, diagnosis.members) == (False, 0)
    [warning] = [one for one in diagnosis.findings if one.severity != "note"]
    assert "belongs to no community" in warning.what
    assert "hearth pair" in warning.remedy


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("POST", "/api/join", b"{}", "words"),
        ("POST", "/api/join", b'{"words": 6}', "words"),
        ("POST", "/api/join", b'{"words": "a b", "at": 1}', "at"),
        ("POST", "/api/join", b"amber river", None),
        ("POST", "/api/models/pull", b'{"name": ""}', "name"),
    ],
)
async def test_a_bad_request_names_its_field(
    owner: httpx.AsyncClient, method: str, path: str, body: bytes, param: str | None
) -> None:
    """400 in OpenAI's shape, here too."""
    reply = await owner.request(method, path, content=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)

"""The typed client against a daemon of scripted answers."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from device.api import AnswerFinished, AnswerLoading, AnswerPiece, AnswerQueued, ChatMessage, Sampling
from device.api_of_models import Model, PullProgress
from device.client import (
    AnswerBrokenOffError,
    DaemonClient,
    RequestRefusedError,
    UnexpectedReplyError,
)
from device.connection import _unreachable
from device.errors import DaemonUnreachableError
from tests.sim.daemon import SimulatedDaemon
from tests.sim.scripts import EMBER_ID, MODEL, OFFER, SPARK_ID, STATUS


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[SimulatedDaemon]:
    """A simulated daemon that listens."""
    with SimulatedDaemon(tmp_path) as daemon:
        yield daemon


@pytest.fixture
def client(daemon: SimulatedDaemon) -> DaemonClient:
    """A client of it."""
    return DaemonClient(daemon.socket_path)


def _question(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


async def test_status_is_parsed_whole(client: DaemonClient) -> None:
    """Every part of the status arrives in its typed place."""
    status = await client.status()
    assert (status.node_id, status.name, status.uptime_s) == (SPARK_ID, "kitchen", 8065.0)
    assert (status.http.port, status.mqtt.port, status.door.port) == (4327, 8883, 8884)
    assert status.community is not None
    assert [member.name for member in status.community.members] == ["kitchen", "workshop", "attic"]
    assert [model.name for model in status.neighbours[0].models] == ["smollm2-135m"]
    assert STATUS["queries"]["answered"] == status.queries.answered


async def test_peers_pair_and_join(client: DaemonClient, daemon: SimulatedDaemon) -> None:
    """What an owner does with neighbours reaches the daemon as asked."""
    assert [node.member for node in (await client.peers()).nearby] == [True, False]
    assert OFFER["words"] == (await client.pair()).words
    assert (await client.join(OFFER["words"], at="10.0.0.7:8884")).community == "street"
    await client.forget(EMBER_ID[:8])
    await client.block(EMBER_ID)
    await client.unblock(EMBER_ID)
    await client.close_offer()
    await client.leave()
    assert [
        ("POST", "/api/join", {"words": OFFER["words"], "at": "10.0.0.7:8884"}),
        ("DELETE", f"/api/peers/{EMBER_ID[:8]}", {}),
        ("POST", f"/api/peers/{EMBER_ID}/block", {}),
        ("DELETE", f"/api/peers/{EMBER_ID}/block", {}),
        ("DELETE", "/api/pair", {}),
        ("POST", "/api/leave", {}),
    ] == daemon.asked[2:]


async def test_a_pull_ends_with_the_model(client: DaemonClient) -> None:
    """Progress in the daemon's order, then the model; then it is in the store, and removable."""
    items = [item async for item in client.pull("smollm2-135m")]
    assert [item.stage for item in items[:2] if isinstance(item, PullProgress)] == ["resolve", "download"]
    assert isinstance(items[-1], Model)
    assert MODEL["digest"] == (await client.model("smollm2-135m")).digest
    await client.remove("smollm2-135m")
    assert "smollm2-135m" not in [model.name for model in (await client.models()).models]


async def test_an_answer_streams_and_says_who_gives_it(client: DaemonClient, daemon: SimulatedDaemon) -> None:
    """Each piece and the end name node and model; the request says what was asked for."""
    sampling = Sampling(temperature=0.7, stop=("END",))
    items = [item async for item in client.ask(_question("capital?"), model="m", node=EMBER_ID[:4], sampling=sampling)]
    pieces = [item for item in items if isinstance(item, AnswerPiece)]
    assert "".join(piece.text for piece in pieces) == "The capital of France is Paris."
    assert pieces[0].answerer.node_name == "workshop"
    end = items[-1]
    assert isinstance(end, AnswerFinished)
    assert (
        end.finish_reason,
        end.prompt_tokens,
        end.completion_tokens,
        end.ttft_ms,
        end.tokens_per_s,
    ) == ("stop", 37, 8, 84.2, 31.4)
    body = daemon.asked[-1][2]
    assert ("m", {"node": EMBER_ID[:4]}, 0.7, ["END"]) == (
        body["model"],
        body["hearthmesh"],
        body["temperature"],
        body["stop"],
    )
    assert "seed" not in body


async def test_an_answer_of_two_nodes_names_both(client: DaemonClient) -> None:
    """Each piece names its own node, the end the first, and who gave which tokens."""
    items = [item async for item in client.ask(_question("pass on"))]
    end = items[-1]
    assert [item.answerer.node_name for item in items if isinstance(item, AnswerPiece | AnswerFinished)] == [
        "workshop",
        "attic",
        "attic",
        "workshop",
    ]
    assert isinstance(end, AnswerFinished)
    assert [(part.node_name, part.from_token, part.tokens) for part in end.parts] == [
        ("workshop", 0, 3),
        ("attic", 3, 5),
    ]


async def test_a_place_in_the_queue_is_told(client: DaemonClient) -> None:
    """Before the words, each time it is another."""
    items = [item async for item in client.ask(_question("queue up"))]
    assert items[:2] == [AnswerQueued(place=3), AnswerQueued(place=1)]
    assert isinstance(items[2], AnswerPiece)


async def test_a_model_that_is_being_made_ready_is_told(client: DaemonClient) -> None:
    """How far it is, before the words."""
    items = [item async for item in client.ask(_question("load it"))]
    assert items[:4] == [AnswerLoading(converted_percent=percent) for percent in (0, 4, 15, 100)]
    assert isinstance(items[4], AnswerPiece)


async def test_closing_the_answer_stops_it(client: DaemonClient, daemon: SimulatedDaemon) -> None:
    """Who walks away from an answer does not leave it running at the daemon."""
    async with aclosing(client.ask(_question("slowly"))) as answer:
        assert isinstance(await anext(answer), AnswerPiece)
    assert await asyncio.to_thread(daemon.abandoned.wait, 10)


@pytest.mark.parametrize(
    ("question", "error", "said"),
    [
        ("too long", RequestRefusedError, "3000 tokens"),
        ("fail", RequestRefusedError, "stopped answering"),
        ("break off", AnswerBrokenOffError, "broke off"),
    ],
)
async def test_an_answer_that_goes_wrong(
    client: DaemonClient, question: str, error: type[Exception], said: str
) -> None:
    """Refused, failed in the middle or cut: an error that says so, with the daemon's own hint where it gives one."""
    with pytest.raises(error, match=said) as caught:
        async for _ in client.ask(_question(question)):
            pass
    assert getattr(caught.value, "hint", "")


async def test_a_refusal_carries_the_daemons_hint(client: DaemonClient) -> None:
    """Message, hint, code and status are the daemon's."""
    with pytest.raises(RequestRefusedError) as caught:
        await client.forget("zz")
    error = caught.value
    assert (
        str(error),
        error.hint,
        error.code,
        error.status,
    ) == ("no node's id begins with zz", "see who is there: hearth peers", "unknown_node", 404)


async def test_no_daemon(tmp_path: Path) -> None:
    """No socket, or nobody behind it: the same clear error, with what to do."""
    left_behind = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(left_behind))
    for path in (tmp_path / "api.sock", left_behind, tmp_path / ("long" * 30) / "api.sock"):
        with pytest.raises(DaemonUnreachableError, match="not running here") as caught:
            await DaemonClient(path).status()
        assert caught.value.hint == "start it: hearth serve"


def test_a_socket_of_somebody_else() -> None:
    """Not being allowed is said as that, with another hint than not running."""
    error = _unreachable(Path("api.sock"), forbidden=True)
    assert "may not open api.sock" in str(error)
    assert "group" in error.hint


async def test_a_daemon_of_another_kind(client: DaemonClient, daemon: SimulatedDaemon) -> None:
    """A reply that lacks a field is named, not a traceback."""
    del daemon.status["memory"]
    with pytest.raises(UnexpectedReplyError, match=r"reply\.memory is missing"):
        await client.status()


async def test_escape_codes_are_dropped(client: DaemonClient, daemon: SimulatedDaemon) -> None:
    """No name and no answer can steer the owner's terminal."""
    daemon.status["name"] = "\x1b]0;owned\x07kit\u202ech\nen\x9b31m"
    daemon.answer = ("a\x1b[2J\n", "b\ud800\x08")
    assert (await client.status()).name == "]0;ownedkitchen31m"
    pieces = [item.text async for item in client.ask(_question("hello")) if isinstance(item, AnswerPiece)]
    assert pieces == ["a[2J\n", "b"]

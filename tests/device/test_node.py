"""Whole nodes in one process: start, stop, and two that pair and answer each other through real brokers."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from device.api import AnswerFinished, AnswerPiece
from device.client import ChatMessage, DaemonClient, RequestRefusedError, Sampling
from device.config import HttpConfig, QueueConfig
from device.core.access import LOOPBACK
from device.errors import AlreadyRunningError, NodeFailedError, PortInUseError
from device.node import HearthNode
from mesh.identity import fingerprint
from models.errors import CorruptStoreError
from tests.models.waiting import until
from tests.sim.hearth import Broker, hearth_config, living
from tests.sim.home import busy

HELLO = [ChatMessage(role="user", content="hello")]
LONG = Sampling(max_tokens=1900)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a short path: a socket's may be 107 bytes long."""
    return tmp_path_factory.mktemp("n")


@pytest.fixture(params=["mosquitto", "amqtt"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker there is."""
    name: Broker = request.param
    if name == "mosquitto" and not shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("mosquitto is not installed")
    return name


@pytest.fixture
async def pair(folder: Path, broker: Broker) -> AsyncIterator[tuple[DaemonClient, DaemonClient, HearthNode]]:
    """Clients of `spark`, which has no model, and of `ember`, which has one and is the third; paired by words."""
    async with AsyncExitStack() as stack:
        homes = (("spark", ""), ("ember", "tiny"))
        nodes = [
            await stack.enter_async_context(living(hearth_config(folder / name, name=name, broker=broker), holds=holds))
            for name, holds in homes
        ]
        spark, ember = (DaemonClient(node.config.socket_path) for node in nodes)
        offer = await ember.pair()
        joined = await spark.join(offer.words)
        assert (joined.node_id, joined.name, joined.fingerprint) == (offer.node_id, "ember", offer.fingerprint)
        yield spark, ember, nodes[1]


async def told(client: DaemonClient, sampling: Sampling) -> tuple[str, AnswerFinished]:
    """The whole of an answer."""
    items = [item async for item in client.ask(HELLO, sampling=sampling)]
    assert isinstance(items[-1], AnswerFinished)
    return "".join(item.text for item in items if isinstance(item, AnswerPiece)), items[-1]


async def test_the_main_job(pair: tuple[DaemonClient, DaemonClient, HearthNode]) -> None:
    """Right after pairing, the node without a model is answered by its neighbour, word for word as at home."""
    spark, ember, _ = pair
    far, finished = await told(spark, Sampling(max_tokens=30))
    near, _ = await told(ember, Sampling(max_tokens=30))
    assert far == near
    assert (finished.answerer.node_name, finished.answerer.local, finished.completion_tokens) == ("ember", False, 30)
    (neighbour,) = (await spark.status()).neighbours
    assert (neighbour.name, neighbour.state, [model.name for model in neighbour.models]) == (
        "ember",
        "linked",
        ["tiny"],
    )
    (member, other) = sorted((await spark.peers()).members, key=lambda one: one.name)
    assert (member.fingerprint, member.this_node) == (fingerprint(member.node_id), False)
    assert other.this_node
    assert (member.name, member.role, other.name, other.role) == ("ember", "voter", "spark", "observer")


async def test_the_owner_sees_and_ends_what_was_begun(pair: tuple[DaemonClient, DaemonClient, HearthNode]) -> None:
    """Ids may be shortened; a blocked neighbour gets no answers any more, a forgotten one is no member."""
    spark, ember, _ = pair
    await ember.close_offer()
    async with asyncio.timeout(20):
        while not (await spark.status()).neighbours[0].models:  # noqa: ASYNC110  asked over HTTP
            await asyncio.sleep(0.01)
    own, (neighbour,) = (await spark.status()).node_id, (await spark.status()).neighbours
    assert (own, True) in [(one.node_id, one.member) for one in (await ember.peers()).nearby]
    async with asyncio.timeout(20):
        while not (await spark.status()).neighbours[0].models:  # noqa: ASYNC110  asked over HTTP
            await asyncio.sleep(0.01)
    await ember.block(own[:6])
    async with asyncio.timeout(20):
        while (await spark.status()).neighbours[0].state == "linked":  # noqa: ASYNC110  asked over HTTP
            await asyncio.sleep(0.01)
    with pytest.raises(RequestRefusedError) as raised:
        await told(spark, Sampling(max_tokens=3))
    assert raised.value.code == "node_unreachable"
    with pytest.raises(RequestRefusedError) as refused:
        await spark.forget(neighbour.node_id[:8])
    assert refused.value.code == "not_allowed"
    await ember.forget(own[:8])
    assert [one.name for one in (await ember.peers()).members] == ["ember"]
    await spark.leave()
    assert (await spark.status()).community is None


async def test_a_node_nearby_may_be_blocked(folder: Path) -> None:
    """It need not be a member, nor this node in a community; this node itself cannot be named."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(living(hearth_config(folder / name, name=name))) for name in "ab"]
        one, other = (DaemonClient(node.config.socket_path) for node in nodes)
        other_id = (await other.status()).node_id
        async with asyncio.timeout(20):
            while other_id not in [seen.node_id for seen in (await one.peers()).nearby]:  # noqa: ASYNC110  as above
                await asyncio.sleep(0.01)
        await one.block(other_id[:8])
        with pytest.raises(RequestRefusedError, match="no member has the id"):
            await one.forget(other_id[:8])
        for refused in (one.block, one.forget):
            with pytest.raises(RequestRefusedError, match="that is this node") as raised:
                await refused((await one.status()).node_id[:8])
            assert "hearth leave" in raised.value.hint


async def test_hanging_up_here_stops_the_engine_there(pair: tuple[DaemonClient, DaemonClient, HearthNode]) -> None:
    """From the client's socket over both nodes to the neighbour's worker."""
    spark, _, ember = pair
    answer = spark.ask(HELLO, sampling=LONG)
    assert await anext(answer)
    await answer.aclose()
    await until(lambda: ember.administration.queries.counts().running == 0)
    await until(lambda: not ember.administration.library._engine.busy)
    assert len(await told(spark, Sampling(max_tokens=3))) == 2


async def test_a_worker_killed_there_is_an_error_here(pair: tuple[DaemonClient, DaemonClient, HearthNode]) -> None:
    """The answer ends with an error, the next question works."""
    spark, _, ember = pair
    answer = spark.ask(HELLO, sampling=LONG)
    await anext(answer)
    worker = ember.administration.library._engine._worker
    assert worker is not None
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(RequestRefusedError, match="ended in mid-answer"):
        async for _ in answer:
            pass
    assert (await told(spark, Sampling(max_tokens=3)))[1].completion_tokens == 3


async def test_a_node_that_stops_says_goodbye(folder: Path) -> None:
    """It leaves nothing running and no socket behind, and starts again on the same directory as the same node."""
    ids = []
    for _ in range(2):
        config = hearth_config(folder / "ember")
        async with living(config) as node:
            ids.append((await DaemonClient(config.socket_path).status()).node_id)
            facts = json.loads((config.data_dir / "run.json").read_text())
            assert facts["http_port"] == node.administration.http.port
        assert not config.socket_path.exists()
        assert not (config.data_dir / "run.json").exists()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", facts["http_port"]))
    assert ids[0] == ids[1]


async def test_a_stop_ends_running_answers_with_an_error(folder: Path) -> None:
    """Whoever was being answered is told, instead of being cut off; after the grace, not before."""
    config = hearth_config(folder / "ember", context_tokens=16_384)
    async with living(config, holds="tiny", grace_s=0.2) as node:
        answer = DaemonClient(config.socket_path).ask(HELLO, sampling=Sampling(max_tokens=16_000))
        await anext(answer)
        node.stop()
        with pytest.raises(RequestRefusedError, match="the node is stopping") as raised:
            async for _ in answer:
                pass
        assert raised.value.code == "stopping"


async def test_the_queue_has_the_size_that_is_configured(folder: Path) -> None:
    """Of two places programs have one: the second question waits, the third is refused."""
    config = replace(hearth_config(folder / "ember", context_tokens=16_384), queue=QueueConfig(waiting=2))
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5, "stream": True}
    async with (
        living(config, holds="tiny") as node,
        busy(node.administration.queries, caller=LOOPBACK),
        AsyncExitStack() as stack,
    ):
        base_url = f"http://127.0.0.1:{node.administration.http.port}/v1"
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=base_url))

        async def asked() -> httpx.Response:
            return await stack.enter_async_context(client.stream("POST", "chat/completions", json=body))

        waiting = await asked()
        assert await anext(waiting.aiter_lines()) == ": queue 1"
        assert (await asked()).status_code == httpx.codes.SERVICE_UNAVAILABLE


async def test_two_nodes_never_share_a_directory(folder: Path) -> None:
    """The second is told who has it, and the first goes on."""
    config = hearth_config(folder / "ember")
    async with living(config):
        with pytest.raises(AlreadyRunningError, match=str(os.getpid())):
            await HearthNode(config).run(asyncio.Event())
        assert (await DaemonClient(config.socket_path).status()).name == "ember"


async def test_a_port_in_use_is_named(folder: Path) -> None:
    """With its key, and the variable that sets it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = hearth_config(folder / "ember")
        node = HearthNode(type(config)(**{**vars(config), "http": HttpConfig(port=port)}))
        with pytest.raises(PortInUseError, match=rf"port {port} is in use \(\[http\] port\)") as raised:
            await node.run(asyncio.Event())
        assert "HEARTH_HTTP_PORT" in raised.value.hint


async def test_before_it_is_ready_there_is_nothing_to_administer(folder: Path) -> None:
    """A mistake of the program's, said as one."""
    with pytest.raises(NodeFailedError):
        assert HearthNode(hearth_config(folder)).administration


async def test_what_goes_wrong_comes_out_as_itself(folder: Path) -> None:
    """Not as a group of groups: the command prints its message and hint."""
    config = hearth_config(folder / "ember")
    config.data_dir.mkdir()
    (config.data_dir / "models").touch()
    with pytest.raises(CorruptStoreError):
        await HearthNode(config).run(asyncio.Event())


def serving(folder: Path, **env: str) -> "subprocess.Popen[str]":
    """`hearth serve` in a process of its own; what it logs is JSON."""
    quiet = {f"HEARTH_{key}_PORT": "0" for key in ("HTTP", "MQTT", "DOOR")}
    quiet |= {"HEARTH_DISCOVERY_INTERFACES": "lo", "HEARTH_LOG_FORMAT": "json"}
    command = [str(Path(sys.executable).with_name("hearth")), "--data", str(folder), "serve"]
    return subprocess.Popen(command, env={**os.environ, **quiet, **env}, stderr=subprocess.PIPE, text=True)


def until_logged(process: "subprocess.Popen[str]", message: str) -> dict[str, object]:
    """Read the log until that event; fails when the log ends first."""
    assert process.stderr is not None
    for line in process.stderr:
        event: dict[str, object] = json.loads(line)
        if event["message"] == message:
            return event
    raise AssertionError(f"it ended without “{message}”")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_daemon_stops_on_a_signal(folder: Path, number: signal.Signals) -> None:
    """Exit code 0, and nothing of it goes on running."""
    with serving(folder / "ember") as process:
        ready = until_logged(process, "ready")
        process.send_signal(number)
        until_logged(process, "stopped")
        assert process.wait(20) == 0
    assert ready["pid"] == process.pid
    assert not (folder / "ember" / "api.sock").exists()


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"HEARTH_HTTP_PROT": "1"}, "error: unknown variable HEARTH_HTTP_PROT; did you mean HEARTH_HTTP_PORT?"),
        ({"HEARTH_HTTP_PORT": "high"}, "error: http.port in the environment: 'high' is no whole number"),
    ],
)
def test_a_start_that_fails_says_why(folder: Path, env: dict[str, str], words: str) -> None:
    """One line, one hint, exit code 1, no traceback."""
    with serving(folder, **env) as process:
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said.splitlines()[0]) == (1, words)
    assert said.splitlines()[1].startswith("hint: ")
    assert len(said.splitlines()) == 2


def test_a_taken_broker_port_is_said_as_well(folder: Path) -> None:
    """Errors of the mesh reach the terminal in the same way."""
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        with serving(folder, HEARTH_MQTT_PORT=port) as process:
            _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert port in said.splitlines()[-2]
    assert said.splitlines()[-2].startswith("error: ")
    assert "Traceback" not in said


def test_a_read_only_directory_is_said() -> None:
    """On a file system that takes nothing, from nobody."""
    with serving(Path("/sys/hearth")) as process:
        _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said.startswith("error: the data directory /sys/hearth cannot be used: ")

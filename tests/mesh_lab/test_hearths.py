"""Whole daemons in a row of four: a question at one end is answered at the other, three hops away."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, aclosing
from itertools import pairwise
from pathlib import Path

import pytest

from device.client import AnswerFinished, AnswerPiece, ChatMessage, DaemonClient, Sampling
from models.store import ModelStore
from tests.e2e.hearths import Hearth
from tests.mesh_lab.conftest import Measured
from tests.mesh_lab.net import TOOLS, Lab
from tests.mesh_lab.nodes import settle
from tests.sim.tiny_model import install_tiny

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS)]

NAMES = ("spark", "attic", "barn", "ember")
MODEL = "tiny"
CONTEXT_TOKENS = 8192
QUESTION = ChatMessage(role="user", content="And then?")
TOKENS = 2000
WITHIN_S = 60.0
ENV = {
    "HEARTH_DISCOVERY_INTERFACES": "auto",
    "HEARTH_MODELS_DEFAULT": MODEL,
    "HEARTH_ENGINE_THREADS": "1",
    "HEARTH_ENGINE_CONTEXT_TOKENS": str(CONTEXT_TOKENS),
}
Row = dict[str, Hearth]


@pytest.fixture(scope="module")
def row(lab: Lab, folder: Path) -> Iterator[Row]:
    """Four daemons; each sees only the next one, and the last one alone has a model."""
    machines = [lab.namespace(name) for name in NAMES]
    for one, two in pairwise(machines):
        lab.link(one, two)
    hearths = {name: Hearth(folder / name, name=name, env=ENV) for name in NAMES}
    settle(*hearths.values())
    holder = hearths["ember"].data_dir
    asyncio.run(install_tiny(ModelStore(holder / "models"), folder / "files", name=MODEL))
    with ExitStack() as stack:
        for machine, hearth in zip(machines, hearths.values(), strict=True):
            with machine.entered():
                stack.enter_context(hearth)
        hearths["spark"].wait_for("ember", model=MODEL)
        yield hearths


def client_of(hearth: Hearth) -> DaemonClient:
    """The owner's side of a daemon."""
    return DaemonClient(hearth.data_dir / "api.sock")


async def idle(hearth: Hearth) -> None:
    """Wait until a daemon answers nothing any more."""
    client = client_of(hearth)
    async with asyncio.timeout(WITHIN_S):
        while (await client.status()).queries.running:  # noqa: ASYNC110  asked over HTTP
            await asyncio.sleep(0.02)


def test_a_question_is_answered_three_hops_away(row: Row) -> None:
    """The command at one end prints what the other end said, and who said it."""
    said = row["spark"].json("ask", "--max-tokens", "20", "And then?")
    far = next(one for one in row["spark"].json("status")["neighbours"] if one["name"] == "ember")
    assert (far["hops"], far["state"]) == (3, "reachable")
    assert (said["node_id"], said["model"], said["completion_tokens"]) == (far["node_id"], MODEL, 20)


async def test_tokens_come_one_after_the_other_over_three_hops(row: Row, measured: Measured) -> None:
    """They are streamed, not gathered at the other end."""
    began, firsts, pieces = time.monotonic(), 0.0, 0
    async with asyncio.timeout(WITHIN_S):
        async for item in client_of(row["spark"]).ask([QUESTION], sampling=Sampling(max_tokens=TOKENS)):
            if isinstance(item, AnswerFinished):
                assert (item.answerer.node_name, item.completion_tokens) == ("ember", TOKENS)
            elif isinstance(item, AnswerPiece):
                pieces += 1
                firsts = firsts or time.monotonic()
    measured("daemons: first token from three hops away", 1000 * (firsts - began), unit="ms")
    assert pieces > 2  # parts are 40 ms apart, and the engine may be quick


async def test_a_cancelled_question_ends_the_work_three_hops_away(row: Row, measured: Measured) -> None:
    """Who does not want the rest of the answer says so, and the other end stops at once."""
    answer = client_of(row["spark"]).ask([QUESTION], sampling=Sampling(max_tokens=CONTEXT_TOKENS // 2))
    async with asyncio.timeout(WITHIN_S), aclosing(answer):
        async for item in answer:
            assert isinstance(item, AnswerPiece)
            if (await client_of(row["ember"]).status()).queries.running:
                break
    cancelled = time.monotonic()
    await idle(row["ember"])
    measured(
        "daemons: a question cancelled three hops away ends after", 1000 * (time.monotonic() - cancelled), unit="ms"
    )
    assert (await client_of(row["ember"]).status()).queries.running == 0

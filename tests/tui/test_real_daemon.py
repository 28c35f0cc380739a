"""The interface and the client on a real `hearth serve`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from device.client import ChatMessage, DaemonClient, RequestRefusedError
from tests.e2e.hearths import Hearth
from tests.tui.conftest import until_gone, until_seen
from tui.app import HearthApp
from tui.glyphs import RICH

MODEL = "smollm2-135m"


@pytest.fixture
def ember(tmp_path: Path) -> Iterator[Hearth]:
    """A hearth that runs."""
    with Hearth(tmp_path / "ember", name="ember") as ember:
        yield ember


async def test_the_interface_outlives_a_power_cut_of_the_daemon(ember: Hearth) -> None:
    """It shows the node, a refusal with its hint, the loss, and the node again once it is back."""
    app = HearthApp(ember.data_dir / "api.sock", glyphs=RICH)
    async with app.run_test(notifications=True) as pilot:
        await until_seen(pilot, "ember", "● running", "hearth pair")
        await pilot.press("3", *"hi", "enter")
        await until_seen(pilot, "no model", "hearth models pull")
        ember.kill()
        await until_seen(pilot, "start it: hearth serve", "○ not running")
        ember.start()
        await until_gone(pilot, "start it: hearth serve")
        await until_seen(pilot, "● running")


async def test_the_record_of_a_real_daemon_is_followed(ember: Hearth) -> None:
    """What was decided on the command line stands on the screen at once: the rules, and the record's entries."""
    ember.run("pair")
    app = HearthApp(ember.data_dir / "api.sock", glyphs=RICH)
    async with app.run_test() as pilot:
        await pilot.press("4")
        await until_seen(pilot, "1 voter, who decides alone", "founded the community", "(256 left")
        ember.run("propose", "rules", "--invitations", "3", "--reason", "we are few")
        await until_seen(pilot, "3 invitations a chosen", "signs the tree of 2 entries")


async def test_the_client_speaks_with_the_daemon(ember: Hearth) -> None:
    """Every kind of reply is understood: values, streams and refusals."""
    client = DaemonClient(ember.data_dir / "api.sock")
    status, models, offer = await client.status(), await client.models(), await client.pair()
    assert (status.name, status.models, models.models) == ("ember", (), ())
    assert MODEL in [entry.name for entry in models.catalogue]
    assert (offer.node_id, len(offer.words.split())) == (status.node_id, 6)
    assert [member.node_id for member in (await client.peers()).members] == [status.node_id]
    await client.close_offer()
    for refused in (client.model("none"), client.remove("none"), client.forget("aaaaaaaa"), client.block("aaaaaaaa")):
        with pytest.raises(RequestRefusedError) as caught:
            await refused
        assert (caught.value.status, bool(caught.value.hint)) == (404, True)
    for stream in (client.ask([ChatMessage(role="user", content="hi")]), client.pull("none")):
        with pytest.raises(RequestRefusedError):
            await anext(stream)


@pytest.mark.slow
async def test_a_neighbour_answers_in_the_interface(ember: Hearth, tmp_path: Path) -> None:
    """Asked at a node without a model, answered by the one that has it, and the screen says by whom."""
    with Hearth(tmp_path / "spark", name="spark") as spark:
        ember.run("models", "pull", MODEL)
        spark.run("join", *ember.json("pair")["words"].split())
        app = HearthApp(spark.data_dir / "api.sock", glyphs=RICH)
        async with app.run_test() as pilot:
            await until_seen(pilot, "spark", "ember", "● linked", MODEL)
            await pilot.press("3", *"What is the capital of France?", "enter")
            await until_seen(pilot, "Paris", f"answered by ember ({ember.json('status')['node_id'][:8]}) with {MODEL}")

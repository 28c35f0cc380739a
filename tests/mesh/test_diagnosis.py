"""What real nodes find out about each other."""

import socket
from pathlib import Path

import pytest

from mesh import double
from mesh.core.entries import Remove, write_entry
from mesh.errors import KeyInDisputeError
from mesh.facts import StaticPeer
from tests.mesh.nodes import paired, running


async def test_a_lone_node_knows_its_own_ports(tmp_path: Path) -> None:
    """Broker and door answer; it belongs nowhere; and who is near is told apart from members."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await anna.until(lambda: ben.node.node_id in {one.node_id for one in anna.node.nearby()})
        facts = await anna.node.diagnose()
        assert (facts.community, facts.reached, facts.away, facts.duplicate) == (None, 0, (), False)
        assert (facts.broker, facts.broker_error, facts.door_error) == ("mosquitto", "", "")
        assert (facts.broker_port, facts.door_port) == (anna.node.mqtt_port, anna.node.door_port)
        assert ben.node.node_id in facts.strangers
        assert facts.wanted == ("lo",)
        assert "lo" in {one.name for one in facts.interfaces}


async def test_a_member_that_went_away_is_knocked_at(tmp_path: Path) -> None:
    """Where it was, and what came of it; blocked ones are left alone; a reached one is counted."""
    peer = f"127.0.0.1:{free_port()}"
    async with running(tmp_path, "Anna", static_peers=(peer, "no such host")) as anna:
        async with running(tmp_path, "Ben") as ben:
            await paired(anna, ben)
            facts = await anna.node.diagnose()
            assert (facts.community, facts.reached, facts.away) == ("Anna", 1, ())
            assert facts.static_peers == (
                StaticPeer(peer=peer, error="connection refused"),
                StaticPeer(peer="no such host", error="the host “no such host” cannot be found"),
            )
            place = ("127.0.0.1", ben.node.door_port, ben.node.mqtt_port)
        await anna.until(lambda: anna.state_of(ben) == "unreachable")
        [away] = (await anna.node.diagnose()).away
        assert (away.name, {one.error for one in (*away.doors, *away.brokers)}) == ("Ben", {"connection refused"})
        assert (away.doors[0].address, away.doors[0].port, away.brokers[0].port) == place
        anna.node.belonging.block(ben.node.node_id)
        facts = await anna.node.diagnose()
        assert (facts.away, facts.blocked) == ((), (("Ben", ben.node.node_id),))


async def test_a_clone_is_noticed_and_forgotten_when_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two boards from one card: the second one to start knows; without new signs it is over."""
    async with running(tmp_path, "Anna"):
        (tmp_path / "copy" / "Anna" / "mesh").mkdir(parents=True)
        identity = (tmp_path / "Anna" / "mesh" / "identity").read_bytes()
        (tmp_path / "copy" / "Anna" / "mesh" / "identity").write_bytes(identity)
        async with running(tmp_path / "copy", "Anna") as copy:
            await copy.until(lambda: copy.node.duplicate)
            assert (await copy.node.diagnose()).duplicate
            monkeypatch.setattr(double, "FORGOTTEN_AFTER_S", 0.0)
            assert not copy.node.duplicate


async def test_a_key_that_signed_twice_is_named_and_lets_nobody_in(tmp_path: Path) -> None:
    """The founder's own: what it would admit would not count, so it is told before anybody types words."""
    async with running(tmp_path, "Anna") as anna:
        store, seed = anna.node._store, anna.node._identity.seed
        store.found("Harbour", "Anna")
        assert store.ledger is not None
        place = store.ledger.next_place(anna.node._identity.public)
        assert (await anna.node.diagnose()).equivocators == ()
        store.take(write_entry(seed, store.ledger.community, place, Remove(b"\7" * 32, one)) for one in "ab")
        assert (await anna.node.diagnose()).equivocators == (("Anna", anna.node.node_id),)
        with pytest.raises(KeyInDisputeError, match="two entries for one place"):
            await anna.node.open_offer()


def free_port() -> int:
    """Find a port where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])

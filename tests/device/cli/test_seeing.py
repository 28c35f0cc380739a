"""What the verbs that show something say: status, doctor, peers."""

import json
from pathlib import Path

import pytest

from tests.device.cli.conftest import Hearth
from tests.sim.daemon import SimulatedDaemon
from tests.sim.scripts import EMBER_ID, HTTPS, SPARK_ID

pytestmark = pytest.mark.usefixtures("daemon")


def test_status_fits_eighty_columns(hearth: Hearth) -> None:
    """A person sees the node and its neighbours, ids shortened in the table."""
    done = hearth("status")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    assert SPARK_ID in done.out
    assert "0 running, 0 waiting; asked 3 here, answered 12 for neighbours\n" in done.out
    assert f"{EMBER_ID[:8]}  workshop   linked       direct  2 h 13 min  smollm2-135m" in done.out


def test_status_for_programs(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """A program gets one object with the API's own names."""
    assert json.loads(hearth("status", "--json").out) == daemon.status


def test_status_of_a_node_alone(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Who has nobody and nothing yet is told how to get it."""
    daemon.status |= {"community": None, "neighbours": [], "models": []}
    out = hearth("status").out
    assert "hearth pair" in out
    assert "hearth models ls" in out


def test_the_status_says_the_fingerprint_of_https(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """As browsers show it, in two lines that fit; nothing where HTTPS is not wanted."""
    assert "https" not in hearth("status").out
    daemon.status["https"] = HTTPS
    out = hearth("status").out
    assert max(map(len, out.splitlines())) <= 80
    assert "port 4328" in out
    assert (
        "".join(line.strip() for line in out.splitlines() if ":A1:" in line or ":B1:" in line) == HTTPS["fingerprint"]
    )
    assert json.loads(hearth("status", "--json").out)["https"] == HTTPS


def test_status_says_what_is_wrong_with_the_node(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """A cloned card, say, is not left to those who ask the doctor."""
    daemon.status["warnings"] = ["another board uses this node's identity"]
    assert "warning: another board uses this node's identity (hearth doctor)\n" in hearth("status").out


def test_doctor(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """What is wrong comes first, each with what to do; the exit code is for scripts."""
    done = hearth("doctor")
    assert done.code == 1
    assert done.out.splitlines() == [
        "fault: attic is in sight, but cannot be reached: 192.168.1.33 port 8883: no answer",
        "  do: let TCP 8883 through its firewall",
        "note: shed is blocked on this node",
        "  do: hearth peers unblock t2t2t2t2",
    ]
    assert json.loads(hearth("doctor", "--json").out) == daemon.diagnosis


def test_doctor_of_a_node_that_is_well(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Nothing to do, and nothing that a script must look at."""
    daemon.diagnosis |= {"sound": True, "reached": 2, "findings": [{"severity": "odd", "what": "w", "remedy": "r"}]}
    done = hearth("doctor")
    assert (done.code, done.out) == (0, "Nothing is wrong: 2 of 2 other members in reach.\nodd: w\n  do: r\n")


def test_doctor_without_a_daemon(hearth: Hearth, daemon: SimulatedDaemon, tmp_path: Path) -> None:
    """How to start it; and what keeps it from starting, if that is the configuration."""
    daemon.stop()
    done = hearth("doctor")
    assert (done.code, done.err) == (1, "")
    assert done.out.startswith("fault: Hearthmesh is not running here")
    assert done.out.endswith(f"  do: start it: hearth serve --data {tmp_path}\n")
    (tmp_path / "hearth.toml").write_text("[mqtt]\nprot = 1\n")
    findings = json.loads(hearth("doctor", "--json").out)["findings"]
    assert "unknown key mqtt.prot" in findings[0]["what"]
    assert len(findings) == 2


def test_peers(hearth: Hearth) -> None:
    """Neighbours, strangers in reach and members, each with what is known of them."""
    out = hearth("peers").out
    assert "192.168.1.40" in out
    assert "192.168.1.21" not in out
    assert "observer" in out
    assert hearth("peers", "list").out == out
    assert json.loads(hearth("peers", "--json").out) == json.loads(hearth("peers", "list", "--json").out)


def test_the_fingerprints_to_compare(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Who came in can be checked: each member's fingerprint, and which member this node is; `pair` says where."""
    lines = hearth("peers").out.splitlines()
    assert f"{EMBER_ID[:8]}  workshop             observer  mq7w z4td hb3y nkxc 5ovr" in lines
    assert [line for line in lines if "(this node)" in line] == [
        f"{SPARK_ID[:8]}  kitchen (this node)  voter     k3v5 x2ab qpzr 7mtn w4y6"
    ]
    assert json.loads(hearth("peers", "--json").out)["members"] == daemon.peers["members"]
    assert "then compare the fingerprint: hearth peers" in hearth("pair").out


def test_peers_that_are_far_or_away(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """How many hops, and why a member is not reached."""
    daemon.status["neighbours"][0] |= {"state": "reachable", "hops": 3}
    out = hearth("peers").out
    assert "workshop   reachable    3 hops  2 h 13 min" in out
    assert "attic        192.168.1.33 port 8883: no answer" in out


@pytest.mark.parametrize(
    ("action", "method", "path"),
    [("forget", "DELETE", ""), ("block", "POST", "/block"), ("unblock", "DELETE", "/block")],
)
def test_forget_block_and_unblock(hearth: Hearth, daemon: SimulatedDaemon, action: str, method: str, path: str) -> None:
    """The beginning of an id is enough; a wrong one is refused with the daemon's hint."""
    assert hearth("peers", action, EMBER_ID[:8]).code == 0
    assert daemon.asked[-1] == (method, f"/api/peers/{EMBER_ID[:8]}{path}", {})
    told = {"ended": True} if action == "forget" else {}
    assert json.loads(hearth("peers", action, EMBER_ID[:8], "--json").out) == told
    done = hearth("peers", action, "zz")
    assert done.code == 1
    assert done.err == "error: no node's id begins with zz\nhint: see who is there: hearth peers\n"

"""Who else may ask: keys, guests, and what the status says of them."""

import json

import pytest

from tests.device.cli.conftest import Hearth
from tests.sim.daemon import SimulatedDaemon
from tests.sim.scripts import GUESTS, HTTPS

pytestmark = pytest.mark.usefixtures("daemon")


def test_guests_are_told_the_encrypted_addresses_too(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """With the fingerprint to compare; what is said of the plain ones stays."""
    https_urls = [url.replace("http:", "https:").replace("4327", "4328") for url in GUESTS["urls"]]
    daemon.guests = {**GUESTS, "https_urls": https_urls, "fingerprint": HTTPS["fingerprint"]}
    done = hearth("guests", "status")
    assert [line.strip() for line in done.out.splitlines() if "https://" in line] == https_urls
    assert "warns of the certificate once" in done.out
    assert (
        "".join(line.strip() for line in done.out.splitlines() if ":A1:" in line or ":B1:" in line)
        == (HTTPS["fingerprint"])
    )
    assert "http:// is not encrypted" in done.err


def test_keys(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """What each is for, when it was last used, what is left of it."""
    lines = hearth("keys").out.splitlines()
    assert lines[0].split() == ["ID", "KEY", "FOR", "USED", "LIMITS"]
    assert "laptop  ask, embed  2 h 5 min ago  1000 tokens a day, 880 left for 23 h 1 min" in lines[1]
    assert "guests  ask         never          6 questions a minute" in lines[2]
    assert hearth("keys", "ls").out.splitlines() == lines
    assert json.loads(hearth("keys", "--json").out) == {"keys": daemon.keys}
    daemon.keys.clear()
    assert "hearth keys add NAME" in hearth("keys").out


def test_a_key_is_made_shown_once_and_revoked(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """The key alone stands on stdout, for a program to take; what to do with it on stderr."""
    made = hearth("keys", "add", "phone", "--scope", "ask, embed", "--per-day", "500")
    assert (made.code, made.out) == (0, f"hk_{'a' * 32}\n")
    assert "Authorization: Bearer" in made.err
    assert daemon.asked[-1][2] == {"name": "phone", "scopes": ["ask", "embed"], "per_minute": 0, "per_day": 500}
    assert json.loads(hearth("keys", "add", "b", "--json").out)["secret"].startswith("hk_")
    assert hearth("keys", "add", "c", "--scope", "root").code == 1
    assert "Revoked phone" in hearth("keys", "rm", "phone").out
    gone = hearth("keys", "rm", "phone")
    assert (gone.code, "hint: see which keys there are" in gone.err) == (1, True)
    assert json.loads(hearth("keys", "rm", "laptop", "--json").out) == {}


def test_guests_are_let_in_and_out(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """The addresses to open, what guests may, and who can read along."""
    assert "hearth guests open" in hearth("guests").out
    opened = hearth("guests", "open")
    assert f"http://192.168.1.20:4327/#k=hk_{'g' * 32}" in opened.out
    assert "Each may ask 6 questions a minute, all together for 50000 tokens a day. 2 phones so far." in opened.out
    assert "not encrypted" in opened.err
    assert hearth("guests", "status").out == opened.out
    limited = json.loads(hearth("guests", "open", "--per-minute", "2", "--per-day", "900", "--json").out)
    assert (limited["per_minute"], limited["per_day"]) == (2, 900)
    assert hearth("guests", "close").out.startswith("Closed")
    daemon.guests = {**GUESTS, "urls": []}
    assert "no address in a network now" in hearth("guests").out
    daemon.guests = {**GUESTS, "urls": ["http://kitchen.local:4327/"], "shows_key": False}
    assert "stays valid" in hearth("guests").out
    daemon.guests["guest_keys"] = 0
    assert "Programs with a key" in hearth("guests").out


def test_the_status_says_who_else_may_ask_and_who_waits(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Only where there is something to say."""
    assert "network" not in hearth("status").out
    daemon.status["guests"] = GUESTS
    daemon.status["queue"] |= {"guest": 3, "owner": 1, "share": 0.4, "reason": "the board is at 76 °C"}
    out = hearth("status").out
    assert "open to 2 phones" in out
    assert "1 yours, 3 of guests" in out
    assert "40% of the time, because the board is at 76 °C" in out

"""Keys on the disk: hashes only, whole or not at all, and what survives a restart."""

import asyncio
import stat
from pathlib import Path

import pytest

from device.core.access import ASK, EMBED, MAX_KEYS
from device.core.admission import Standing
from device.core.budgets import Allowance
from device.errors import (
    BadRequestError,
    BudgetUsedUpError,
    DataDirectoryError,
    ForbiddenError,
    NoSuchKeyError,
    TooManyRequestsError,
    UnknownKeyError,
)
from device.keyring import MAX_OF_SOURCE, MAX_SESSIONS, SESSION_S, KeyRing
from models.core.request import GenerationRequest, Message, SamplingParams
from tests.device.test_meter import Clock
from tests.models.waiting import until

NAMELESS = b'{"name": "", "digest": "", "scopes": [], "guest": false, "per_minute": 0, "per_day": 0}'
PHONE = "192.168.1.7"
DAILY = Allowance(per_minute=6, per_day=1000)
QUESTION = GenerationRequest((Message("user", "hello"),), SamplingParams(max_tokens=100))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the keys are."""
    return tmp_path / "keys.json"


def _content(path: Path) -> tuple[str, int]:
    """What is in the file, and who may read it."""
    return path.read_text(), stat.S_IMODE(path.stat().st_mode)


def _made_unwritable(path: Path) -> bytes:
    """Put something in the file's place that nothing can replace; return what was there."""
    kept = path.read_bytes()
    path.unlink()
    path.mkdir()
    return kept


def _mend(path: Path, kept: bytes) -> None:
    path.rmdir()
    path.write_bytes(kept)


async def test_a_key_opens_until_it_is_revoked(path: Path) -> None:
    """Also after a restart; what was revoked stays so."""
    ring = KeyRing(path)
    key, secret = await ring.add("laptop", (ASK, EMBED))
    assert KeyRing(path).caller_of_key(secret).scopes == (ASK, EMBED)
    assert ring.caller_of_key(secret).client.standing is Standing.OWN
    assert await ring.remove("laptop") == key
    for after in (ring, KeyRing(path)):
        with pytest.raises(UnknownKeyError, match="revoked"):
            after.caller_of_key(secret)


async def test_the_file_holds_no_key(path: Path) -> None:
    """Whoever reads it cannot ask with it; nobody but the node's user reads it."""
    ring = KeyRing(path)
    _, secret = await ring.add("laptop", (ASK,))
    _, guests = await ring.add("guests", (ASK,), guest=True)
    token = ring.open_session(guests, PHONE)
    await ring.aclose()
    text, mode = _content(path)
    assert not [one for one in (secret, guests, token) if one in text or one.removeprefix("hk_") in text]
    assert mode == 0o600
    assert len({secret, guests}) == 2


async def test_what_was_used_survives_a_restart(path: Path) -> None:
    """Tokens, last use and phones; the time that the node was off does not count."""
    clock = Clock()
    ring = KeyRing(path, clock=clock)
    key, secret = await ring.add("guests", (ASK,), guest=True, allowance=DAILY)
    token = ring.open_session(secret, PHONE)
    ring.meter.begin(ring.caller_of_session(token), QUESTION).settle(120)
    clock.now = 500.0
    await ring.aclose()
    later = Clock()
    later.now = 10_000_000.0  # another boot: the monotonic clock says anything
    again = KeyRing(path, clock=later)
    assert again.meter.left(key.digest, DAILY) == 880
    assert again.used_ago_s(key) == 500
    assert again.phones == 1
    assert again.caller_of_session(token).client == ring.caller_of_session(token).client
    later.now += 24 * 3600
    assert again.meter.left(key.digest, DAILY) == 1000


async def test_what_changes_with_every_question_is_written_now_and_then(path: Path) -> None:
    """Not for each: a while after the first, and once for all that came in between."""
    ring = KeyRing(path, write_after_s=0.01)
    key, secret = await ring.add("laptop", (ASK,), allowance=DAILY)
    running = asyncio.create_task(ring.run())
    for _ in range(3):
        ring.meter.begin(ring.caller_of_key(secret), QUESTION).settle(100)
    assert KeyRing(path).meter.left(key.digest, DAILY) == 1000
    await until(lambda: KeyRing(path).meter.left(key.digest, DAILY) == 700)
    running.cancel()


async def test_who_asks_while_its_key_is_revoked_is_refused(path: Path) -> None:
    """It was let in with the key before; nothing takes its question any more, and whoever must know is told."""
    ring = KeyRing(path)
    revoked: list[str] = []
    ring.on_revoked = revoked.append
    key, secret = await ring.add("guests", (ASK,), guest=True, allowance=DAILY)
    caller = ring.caller_of_session(ring.open_session(secret, PHONE))
    await ring.close_lan()
    with pytest.raises(UnknownKeyError, match="revoked"):
        ring.meter.begin(caller, QUESTION)
    assert revoked == [key.digest]


async def test_revoking_the_guests_key_ends_its_phones(path: Path) -> None:
    """At once, all of them; other keys stay."""
    ring = KeyRing(path)
    _, program = await ring.add("laptop", (ASK,))
    _, secret = await ring.add("guests", (ASK,), guest=True)
    tokens = [ring.open_session(secret, PHONE) for _ in range(3)]
    await ring.close_lan()
    assert ring.phones == 0
    for token in tokens:
        with pytest.raises(UnknownKeyError, match="not known here any more"):
            ring.caller_of_session(token)
    with pytest.raises(UnknownKeyError):
        ring.open_session(secret, PHONE)
    assert ring.caller_of_key(program).scopes == (ASK,)


async def test_phones_are_bounded_and_forgotten(path: Path) -> None:
    """The one that has not asked for longest makes room; after hours without a question each must scan again."""
    clock = Clock()
    ring = KeyRing(path, clock=clock)
    _, secret = await ring.add("guests", (ASK,), guest=True)
    tokens = []
    for number in range(MAX_SESSIONS):
        tokens.append(ring.open_session(secret, f"10.0.0.{number}"))
        clock.now += 1
    ring.caller_of_session(tokens[0])
    clock.now += 1
    ring.open_session(secret, PHONE)
    assert ring.phones == MAX_SESSIONS
    ring.caller_of_session(tokens[0])
    with pytest.raises(UnknownKeyError):
        ring.caller_of_session(tokens[1])
    clock.now += SESSION_S + 1
    with pytest.raises(UnknownKeyError):
        ring.caller_of_session(tokens[0])
    assert ring.phones == 0


async def test_many_sessions_log_nobody_else_out(path: Path) -> None:
    """Whoever takes cookie after cookie loses its own, from one address or from all of an IPv6 network."""
    clock = Clock()
    ring = KeyRing(path, clock=clock)
    _, secret = await ring.add("guests", (ASK,), guest=True)
    _, other = await ring.add("guests", (ASK,), guest=True)
    phones = [ring.open_session(secret, PHONE), ring.open_session(other, "fd00:1::7")]
    for number in range(2 * MAX_SESSIONS):
        clock.now += 1
        ring.open_session(secret, "192.168.1.66")
        last = ring.open_session(secret, f"fd00::{number:x}%wlan0")
    assert len(ring._sessions) == MAX_SESSIONS
    assert sum(session.source == "192.168.1.66" for session in ring._sessions.values()) == MAX_OF_SOURCE
    for token in (*phones, last):
        assert ring.caller_of_session(token)


async def test_another_cookie_is_not_another_phone(path: Path) -> None:
    """Pace and part of the budget belong to the key and the address; a restart and other cookies do not renew them."""
    clock = Clock()
    ring = KeyRing(path, clock=clock)
    _, secret = await ring.add("guests", (ASK,), guest=True, allowance=DAILY)
    for _ in range(DAILY.per_minute):
        caller = ring.caller_of_session(ring.open_session(secret, PHONE))
        ring.meter.begin(caller, QUESTION).settle(0)
    caller = ring.caller_of_session(ring.open_session(secret, PHONE))
    with pytest.raises(TooManyRequestsError):
        ring.meter.begin(caller, QUESTION)
    clock.now = 60.0
    ring.meter.begin(caller, QUESTION).settle(250)
    for _ in range(2 * MAX_OF_SOURCE):
        token = ring.open_session(secret, PHONE)
    await ring.aclose()
    for after in (ring, KeyRing(path)):
        with pytest.raises(BudgetUsedUpError, match="250 tokens a day"):
            after.meter.begin(after.caller_of_session(token), QUESTION)
    assert ring.phones == 1
    neighbour = ring.caller_of_session(ring.open_session(secret, "192.168.1.8"))
    assert neighbour.client != caller.client
    ring.meter.begin(neighbour, QUESTION)


async def test_a_guests_key_asks_nothing_by_itself(path: Path) -> None:
    """It opens a session, whose phone has its part; who has the code is no program without limits."""
    ring = KeyRing(path)
    _, secret = await ring.add("guests", (ASK,), guest=True)
    with pytest.raises(ForbiddenError, match="/guest/session") as raised:
        ring.caller_of_key(secret)
    assert "hearth keys add" in raised.value.hint


async def test_a_programs_key_opens_no_page(path: Path) -> None:
    """A phone that gets hold of it has no session by it."""
    ring = KeyRing(path)
    _, secret = await ring.add("laptop", (ASK,))
    with pytest.raises(UnknownKeyError, match="for programs"):
        ring.open_session(secret, PHONE)


async def test_names_are_unique_and_keys_bounded(path: Path) -> None:
    """A name that is there already, and one key too many, are refused with what to do."""
    ring = KeyRing(path)
    await ring.add("laptop", (ASK,))
    with pytest.raises(BadRequestError, match="laptop already"):
        await ring.add("laptop", (ASK,))
    for number in range(MAX_KEYS - 1):
        await ring.add(f"key {number}", (ASK,))
    with pytest.raises(BadRequestError) as raised:
        await ring.add("one more", (ASK,))
    assert "hearth keys rm" in raised.value.hint


async def test_a_name_that_two_have_needs_an_id(path: Path) -> None:
    """Guests' keys share theirs."""
    ring = KeyRing(path)
    one, _ = await ring.add("guests", (ASK,), guest=True)
    await ring.add("guests", (ASK,), guest=True)
    with pytest.raises(BadRequestError, match=one.id):
        await ring.remove("guests")
    assert await ring.remove(one.id) == one
    with pytest.raises(NoSuchKeyError):
        await ring.remove(one.id)


async def test_a_disk_that_takes_nothing_gives_nothing(path: Path) -> None:
    """A key that is not on the disk is none, and the LAN is not open."""
    ring = KeyRing(path)
    key, secret = await ring.add("laptop", (ASK,))
    kept = _made_unwritable(path)
    for refused in (ring.add("phone", (ASK,)), ring.open_lan()):
        with pytest.raises(DataDirectoryError):
            await refused
    assert ring.keys == (key,)
    assert not ring.lan_opened
    assert ring.caller_of_key(secret)
    await ring.aclose()  # logged, not raised: the node stops anyway
    _mend(path, kept)
    assert KeyRing(path).keys == (key,)


async def test_a_full_disk_keeps_no_key_alive(path: Path) -> None:
    """What the owner takes away is gone at once, and said to last no longer than this run; the disk hears it later."""
    ring = KeyRing(path, write_after_s=0.01)
    _, program = await ring.add("laptop", (ASK,))
    _, secret = await ring.add("guests", (ASK,), guest=True)
    await ring.open_lan()
    token = ring.open_session(secret, PHONE)
    kept = _made_unwritable(path)
    for taken in (ring.remove("laptop"), ring.close_lan()):
        with pytest.raises(DataDirectoryError, match="comes back with a restart"):
            await taken
    assert (ring.keys, ring.phones, ring.lan_opened) == ((), 0, False)
    for look_up in (
        lambda: ring.caller_of_key(program),
        lambda: ring.caller_of_session(token),
        lambda: ring.open_session(secret, PHONE),
    ):
        with pytest.raises(UnknownKeyError):
            look_up()
    writing = asyncio.create_task(ring.run())
    _mend(path, kept)
    await until(lambda: KeyRing(path).keys == ())
    assert not KeyRing(path).lan_opened
    writing.cancel()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 2}',
        b'{"version": 1, "keys": [{"name": 5}]}',
        b'{"version": 1, "keys": [%s]}' % NAMELESS,
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_refused_not_replaced(path: Path, content: bytes) -> None:
    """Keys that the owner has given out do not vanish silently."""
    path.write_bytes(content)
    with pytest.raises(DataDirectoryError, match="cannot be read") as raised:
        KeyRing(path)
    assert "hearth keys add" in raised.value.hint
    assert path.read_bytes() == content


async def test_without_keys_there_is_no_file(path: Path) -> None:
    """A node that nobody else asks writes nothing."""
    ring = KeyRing(path)
    await ring.aclose()
    with pytest.raises(FileNotFoundError):
        _content(path)
    await ring.open_lan()
    assert KeyRing(path).lan_opened

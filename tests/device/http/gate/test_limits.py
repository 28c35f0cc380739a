"""How much whoever came in may ask, and how often a key may be guessed."""

from collections.abc import Awaitable, Callable

import httpx
import pytest

from device.api import GuestAccess, NewKey
from device.client import DaemonClient
from device.http.gate import COOKIE
from device.node import HearthNode
from tests.device.http.phones import CHAT, LAN, QUESTION, come_in, reaching, refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_fresh_session_is_no_fresh_phone(node: HearthNode, owner: DaemonClient) -> None:
    """Whoever comes in anew with each question has the pace of one; a phone elsewhere has its own."""
    guests = await owner.open_guests(per_minute=2)
    mark = {"X-Hearthmesh": "page"}
    statuses = []
    for _ in range(4):
        async with reaching(node) as phone:
            await come_in(phone, guests)
            statuses.append((await phone.post(CHAT, json=QUESTION, headers=mark)).status_code)
    assert statuses == [200, 200, 429, 429]
    async with reaching(node, transport=httpx.AsyncHTTPTransport(local_address="127.0.0.68")) as other:
        await come_in(other, guests)
        assert (await other.post(CHAT, json=QUESTION, headers=mark)).status_code == 200
    await owner.close_guests()


async def test_guessing_keys_is_slow(phone: httpx.AsyncClient, guests: GuestAccess) -> None:
    """After ten wrong ones each further one is told to wait; others do not notice."""
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.66")
    async with httpx.AsyncClient(transport=transport, base_url=phone.base_url) as guesser:
        replies = [await guesser.post("/guest/session", json={"key": f"hk_{n}"}) for n in range(11)]
        assert [reply.status_code for reply in replies] == [401] * 10 + [429]
        assert refusal(replies[-1]) == (429, "rate_limit_exceeded")
        assert int(replies[-1].headers["retry-after"]) > 0
        assert (await guesser.get("/health")).status_code == 200
    assert (await come_in(phone, guests)).status_code == 204


async def test_a_right_key_opens_where_others_guess(
    node: HearthNode, guests: GuestAccess, make_key: Callable[..., Awaitable[NewKey]]
) -> None:
    """Whoever shares an address (or an IPv6 network) with a guesser is not locked out; nor is the owner on loopback."""
    admin = {"Authorization": f"Bearer {(await make_key('admin')).secret}"}
    program = {"Authorization": f"Bearer {(await make_key('ask')).secret}"}
    for host, path, right in ((LAN, "/v1/models", program), ("127.0.0.1", "/api/status", admin)):
        transport = httpx.AsyncHTTPTransport(local_address="127.0.0.67")
        async with reaching(node, host, transport=transport) as shared:
            wrong = {"Authorization": "Bearer hk_wrong"}
            statuses = [(await shared.get("/v1/models", headers=wrong)).status_code for _ in range(12)]
            assert statuses[-1] == 429
            assert (await shared.get(path, headers=right)).status_code == 200
            assert (await come_in(shared, guests)).status_code == 204
            assert (await shared.get("/v1/models")).status_code == 200


async def test_an_old_cookie_is_no_guess(phone: httpx.AsyncClient, guests: GuestAccess) -> None:
    """A page that goes on asking with one does not use up its phone's tries."""
    old = {"Cookie": f"{COOKIE}={'a' * 32}"}
    statuses = {(await phone.get("/v1/models", headers=old)).status_code for _ in range(15)}
    assert statuses == {401}
    wrong = await phone.post("/guest/session", json={"key": "hk_wrong"})
    assert wrong.status_code == 401
    assert (await come_in(phone, guests)).status_code == 204


async def test_a_budget_used_up_is_said(node: HearthNode, owner: DaemonClient) -> None:
    """With when it renews, for people and for programs."""
    guests = await owner.open_guests(per_minute=0, per_day=20)
    async with reaching(node) as phone:
        await come_in(phone, guests)
        mark = {"X-Hearthmesh": "page"}
        assert (await phone.post(CHAT, json=QUESTION, headers=mark)).status_code == 200
        reply = await phone.post(CHAT, json={**QUESTION, "stream": True}, headers=mark)
        assert refusal(reply) == (429, "insufficient_quota")
        assert "tokens a day are used up; they are back in" in reply.json()["error"]["message"]
        assert 24 * 3600 - 60 < int(reply.headers["retry-after"]) <= 24 * 3600
    (key,) = [key for key in (await owner.keys()).keys if key.guest]
    assert (key.per_day, key.tokens_left) == (20, 0)
    await owner.close_guests()


async def test_a_rate_exceeded_is_said(node: HearthNode, owner: DaemonClient) -> None:
    """With when the next question may come."""
    guests = await owner.open_guests(per_minute=1)
    async with reaching(node) as phone:
        await come_in(phone, guests)
        replies = [await phone.post(CHAT, json=QUESTION, headers={"X-Hearthmesh": "page"}) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 429]
    assert 1 <= int(replies[1].headers["retry-after"]) <= 60
    await owner.close_guests()

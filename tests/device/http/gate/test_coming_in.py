"""How a phone comes in, and who does not."""

import httpx
import pytest

from device.api import GuestAccess
from device.client import DaemonClient
from tests.device.http.phones import CHAT, LAN, QUESTION, come_in, key_in, refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_lan_needs_a_key(phone: httpx.AsyncClient) -> None:
    """Without one, and with a wrong one, there is nothing but signs of life."""
    assert (await phone.get("/health")).status_code == 200
    for path in ("/v1/models", "/metrics", "/api/status", "/nothing"):
        assert refusal(await phone.get(path)) == (401, "invalid_api_key")
    assert (await phone.get("/api/tags")).json()["code"] == "invalid_api_key"  # in Ollama's shape
    reply = await phone.post(CHAT, json=QUESTION, headers={"Authorization": "Bearer hk_wrong"})
    assert refusal(reply) == (401, "invalid_api_key")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert "access-control-allow-origin" not in reply.headers


async def test_a_phone_comes_in_with_the_code(
    phone: httpx.AsyncClient, guests: GuestAccess, owner: DaemonClient
) -> None:
    """The key is shown once; from then on it is the cookie, which no script can read and no other site send."""
    reply = await come_in(phone, guests)
    assert (reply.status_code, reply.content) == (204, b"")
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "max-age" not in cookie
    assert key_in(guests) not in cookie
    asked = await phone.post(CHAT, json=QUESTION, headers={"X-Hearthmesh": "page"})
    assert asked.json()["usage"]["completion_tokens"] == 3
    assert (await phone.get("/v1/models")).status_code == 200
    again = await come_in(phone, guests)
    assert (again.status_code, "set-cookie" in again.headers) == (204, False)
    assert (await owner.guests()).phones == 1


async def test_a_cookie_alone_asks_nothing(phone: httpx.AsyncClient, guests: GuestAccess) -> None:
    """What acts must say where it comes from: this page, or a header that another page cannot send."""
    await come_in(phone, guests)
    assert refusal(await phone.post(CHAT, json=QUESTION)) == (403, "forbidden")
    own = {"Origin": str(phone.base_url).rstrip("/")}
    assert (await phone.post(CHAT, json=QUESTION, headers=own)).status_code == 200
    for origin in ("http://evil.example", "null", f"http://{LAN}:1"):
        assert refusal(await phone.post(CHAT, json=QUESTION, headers={"Origin": origin})) == (403, "forbidden")


async def test_another_page_cannot_bring_a_phone_in(phone: httpx.AsyncClient, guests: GuestAccess) -> None:
    """Nor put a guest's session of its own choosing into a browser."""
    reply = await phone.post("/guest/session", json={"key": key_in(guests)}, headers={"Origin": "http://evil.example"})
    assert refusal(reply) == (403, "forbidden")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4327", "192.168.1.99", "kitchen-box.local.evil.example", ""]
)
async def test_a_foreign_name_for_the_lan_is_refused(phone: httpx.AsyncClient, guests: GuestAccess, host: str) -> None:
    """Whatever name an attacker has made point here (DNS rebinding), the cookie with it or not."""
    await come_in(phone, guests)
    assert refusal(await phone.get("/v1/models", headers={"Host": host})) == (403, "forbidden")


@pytest.mark.parametrize("host", ["kitchen-box.local", "Kitchen-Box.local:4327", LAN, "localhost"])
async def test_every_own_name_is_let_in(phone: httpx.AsyncClient, host: str) -> None:
    """The name that mDNS answers, and the address."""
    assert (await phone.get("/health", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b'{"key": 5}', b'{"key": ""}', b'{"key": "%s"}' % (b"x" * 200)])
async def test_what_is_no_key_is_said(phone: httpx.AsyncClient, body: bytes) -> None:
    """A body that is none is a bad request, not a wrong key."""
    assert refusal(await phone.post("/guest/session", content=body)) == (400, "invalid_value")


async def test_a_guests_key_is_for_coming_in_alone(phone: httpx.AsyncClient, guests: GuestAccess) -> None:
    """Shown as a program's it is refused: beside the cookie it would be a second phone, without the bounds of one."""
    right = {"Authorization": f"Bearer {key_in(guests)}"}
    assert refusal(await phone.post(CHAT, json=QUESTION, headers=right)) == (403, "forbidden")


async def test_a_strangers_body_is_hardly_read(phone: httpx.AsyncClient) -> None:
    """Whoever has no key yet sends one, and nothing whose parsing would hold everybody else up."""
    for body in (b'{"x":[' + b"{}," * 300_000 + b"{}]}", b'{"key": "' + b"x" * 1015 + b'"}'):
        assert refusal(await phone.post("/guest/session", content=body)) == (413, "request_too_large")

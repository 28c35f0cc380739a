"""What a key opens at which door, and how it ends."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import httpx
import pytest

from device.api import GuestAccess, NewKey
from device.client import DaemonClient, RequestRefusedError
from device.node import HearthNode
from tests.device.http.phones import CHAT, QUESTION, come_in, reaching, refusal
from tests.models.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_key_does_what_it_is_for(
    node: HearthNode, guests: GuestAccess, make_key: Callable[..., Awaitable[NewKey]]
) -> None:
    """On the LAN one asks and no more; nobody administers there, a key for it or not."""
    assert guests.open
    async with reaching(node, key=(await make_key("ask")).secret) as program:
        assert (await program.post(CHAT, json=QUESTION)).status_code == 200
        assert refusal(await program.post("/v1/embeddings", json={})) == (403, "forbidden")
        assert (await program.get("/api/status")).status_code == 404
    async with reaching(node, key=(await make_key("embed")).secret) as program:
        assert refusal(await program.post(CHAT, json=QUESTION)) == (403, "forbidden")
    async with reaching(node, key=(await make_key("ask", "admin")).secret) as program:
        assert (await program.get("/api/status")).status_code == 404
        reply = await program.get("/metrics")
        assert refusal(reply) == (403, "forbidden")
        assert "ssh -L" in reply.json()["error"]["hint"]


async def test_an_admin_key_administers_on_loopback(
    node: HearthNode, make_key: Callable[..., Awaitable[NewKey]]
) -> None:
    """That is where SSH leads; other keys do there what they may, and what OpenAI's clients make up means nothing."""
    async with reaching(node, "127.0.0.1", key=(await make_key("admin")).secret) as admin:
        assert (await admin.get("/api/status")).json()["name"] == "Kitchen box"
        assert (await admin.get("/metrics")).status_code == 200
    async with reaching(node, "127.0.0.1", key=(await make_key("ask")).secret) as program:
        assert (await program.get("/v1/models")).status_code == 200
        assert (await program.get("/api/status")).status_code == 404
        assert refusal(await program.get("/metrics")) == (403, "forbidden")
    async with reaching(node, "127.0.0.1", key="sk-made-up") as program:
        assert (await program.get("/v1/models")).status_code == 200
    async with reaching(node, "127.0.0.1", key="hk_wrong") as program:
        assert refusal(await program.get("/v1/models")) == (401, "invalid_api_key")


async def test_keys_are_listed_and_revoked(owner: DaemonClient) -> None:
    """The secret is shown once; an unknown name is said."""
    made = await owner.add_key("laptop", scopes=("ask", "embed"), per_day=500)
    (shown,) = (await owner.keys()).keys
    assert (shown.name, shown.scopes, shown.used_ago_s, shown.tokens_left) == ("laptop", ("ask", "embed"), None, 500)
    assert made.secret not in json.dumps([vars(shown)])
    await owner.remove_key("laptop")
    assert (await owner.keys()).keys == ()
    for refused in (owner.remove_key("laptop"), owner.add_key("laptop", scopes=("root",)), owner.add_key("")):
        with pytest.raises(RequestRefusedError) as raised:
            await refused
        assert raised.value.hint


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"name": 1}',
        b'{"name": "a", "scopes": "ask"}',
        b'{"name": "a", "per_day": -1}',
        b'{"name": "a", "per_minute": true}',
    ],
)
async def test_a_bad_key_names_its_field(node: HearthNode, body: bytes) -> None:
    """400, and no key is made."""
    transport = httpx.AsyncHTTPTransport(uds=str(node.config.socket_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://hearth") as owner:
        assert refusal(await owner.post("/api/keys", content=body)) == (400, "invalid_value")
        assert (await owner.get("/api/keys")).json() == {"keys": []}


async def test_a_revoked_key_ends_its_phones(node: HearthNode, owner: DaemonClient) -> None:
    """The next question is refused, with what to do; the page itself still loads, to say so."""
    guests = await owner.open_guests()
    async with reaching(node) as phone:
        await come_in(phone, guests)
        (key,) = [key for key in (await owner.keys()).keys if key.guest]
        await owner.remove_key(key.id)
        reply = await phone.post(CHAT, json=QUESTION, headers={"X-Hearthmesh": "page"})
        assert refusal(reply) == (401, "invalid_api_key")
        assert "QR code" in reply.json()["error"]["hint"]
        assert refusal(await come_in(phone, guests)) == (401, "invalid_api_key")
        assert (await phone.get("/health")).status_code == 200
    await owner.close_guests()


async def test_a_revoked_key_ends_its_answers(node: HearthNode, owner: DaemonClient) -> None:
    """Those that are being given and those that wait: nothing of the engine is for it any more."""
    guests = await owner.open_guests(per_minute=1000, per_day=0)
    long = QUESTION | {"max_tokens": 16_000}
    queries = node.administration.queries
    page = {"X-Hearthmesh": "page"}
    async with reaching(node) as first, reaching(node) as second:
        for phone in (first, second):
            await come_in(phone, guests)
        async with first.stream("POST", CHAT, json=long | {"stream": True}, headers=page) as running:
            lines = running.aiter_lines()
            await anext(lines)
            waiting = asyncio.create_task(second.post(CHAT, json=long, headers=page))
            await until(lambda: queries.counts().running == 2)
            (key,) = [key for key in (await owner.keys()).keys if key.guest]
            await owner.remove_key(key.id)
            *_, last, done = [line.removeprefix("data: ") async for line in lines if line]
            assert (json.loads(last)["error"]["code"], done) == ("invalid_api_key", "[DONE]")
            assert refusal(await waiting) == (401, "invalid_api_key")
        await until(lambda: queries.counts().running == 0)
    await owner.close_guests()

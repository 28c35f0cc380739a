"""Who gets in at which door of a whole node: its LAN is another loopback address, so that no network is needed."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from device.api import GuestAccess, NewKey
from device.client import DaemonClient, RequestRefusedError
from device.http.gate import COOKIE
from device.node import HearthNode
from mesh.interfaces import Interface
from tests.models.waiting import until
from tests.sim.hearth import hearth_config, living

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAN = "127.0.0.2"
CHAT = "/v1/chat/completions"
QUESTION = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
Client = Callable[..., httpx.AsyncClient]


def wlan() -> tuple[Interface, ...]:
    """A machine with one network."""
    return (Interface("wlan0", up=True, networks=(f"{LAN}/8",)),)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> AsyncIterator[HearthNode]:
    """A node with a network, its LAN still closed."""
    config = hearth_config(
        tmp_path_factory.mktemp("g"), name="Kitchen box", context_tokens=16_384, interfaces=("wlan0",)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        async with living(config, holds="tiny", networks=wlan) as node:
            yield node


@pytest.fixture
def owner(node: HearthNode) -> DaemonClient:
    """The owner's command."""
    return DaemonClient(node.config.socket_path)


@pytest_asyncio.fixture(loop_scope="module")
async def guests(owner: DaemonClient) -> AsyncIterator[GuestAccess]:
    """The LAN, open to guests who may ask much."""
    yield await owner.open_guests(per_minute=1000, per_day=0)
    await owner.close_guests()


@pytest_asyncio.fixture(loop_scope="module")
async def phone(node: HearthNode, guests: GuestAccess) -> AsyncIterator[httpx.AsyncClient]:
    """A phone on the Wi-Fi, without a key."""
    assert guests.open
    async with reaching(node) as client:
        yield client


@asynccontextmanager
async def reaching(
    node: HearthNode, host: str = LAN, *, key: str = "", transport: httpx.AsyncHTTPTransport | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of one of the node's addresses."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    base = f"http://{host}:{node.administration.http.port}"
    async with httpx.AsyncClient(
        base_url=base, timeout=60, trust_env=False, headers=headers, transport=transport
    ) as client:
        yield client


def key_in(guests: GuestAccess) -> str:
    """The key of the QR code."""
    return guests.urls[0].partition("#k=")[2]


async def come_in(phone: httpx.AsyncClient, guests: GuestAccess) -> httpx.Response:
    """Scan the code."""
    return await phone.post("/guest/session", json={"key": key_in(guests)})


def refusal(reply: httpx.Response) -> tuple[int, str]:
    """Status and code, of an error that says what happened and what to do."""
    error = reply.json()["error"]
    assert error["message"]
    assert error["hint"]
    return reply.status_code, error["code"]


async def test_the_lan_is_closed_until_the_owner_opens_it(node: HearthNode, owner: DaemonClient) -> None:
    """And again afterwards; loopback does not notice."""
    async with reaching(node) as phone, reaching(node, "127.0.0.1") as program:
        for _ in range(2):
            with pytest.raises(httpx.ConnectError):
                await phone.get("/health")
            opened = await owner.open_guests()
            assert (opened.open, opened.shows_key) == (True, True)
            assert (await phone.get("/health")).status_code == 200
            closed = await owner.close_guests()
            assert (closed.open, closed.urls, closed.guest_keys) == (False, (), 0)
            await until_refused(phone)
            assert (await program.post(CHAT, json=QUESTION)).status_code == 200


async def until_refused(phone: httpx.AsyncClient) -> None:
    """Wait until nobody listens any more; what was connected is let go with its next request."""
    async with asyncio.timeout(10):
        while True:
            try:
                await phone.get("/health", headers={"Connection": "close"})
            except httpx.TransportError:
                return


async def test_the_codes_say_name_and_address(guests: GuestAccess, node: HearthNode) -> None:
    """Old phones know no .local; the key stands in the fragment, which no browser sends anywhere."""
    port, key = node.administration.http.port, key_in(guests)
    assert guests.urls == (f"http://kitchen-box.local:{port}/#k={key}", f"http://{LAN}:{port}/#k={key}")


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


async def test_a_strangers_body_is_hardly_read(phone: httpx.AsyncClient) -> None:
    """Whoever has no key yet sends one, and nothing whose parsing would hold everybody else up."""
    for body in (b'{"x":[' + b"{}," * 300_000 + b"{}]}", b'{"key": "' + b"x" * 1015 + b'"}'):
        assert refusal(await phone.post("/guest/session", content=body)) == (413, "request_too_large")


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


async def test_the_owner_closes_the_lan_on_a_full_disk(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody is reached any more and no phone asks; the owner hears that the disk does not know yet."""
    config = hearth_config(tmp_path_factory.mktemp("f"), interfaces=("wlan0",))
    owner = DaemonClient(config.socket_path)
    async with living(config, networks=wlan) as node, reaching(node) as phone:
        guests = await owner.open_guests()
        await come_in(phone, guests)
        keys = config.data_dir / "keys.json"
        kept = keys.read_bytes()
        keys.unlink()
        keys.mkdir()  # nothing can be put in its place
        with pytest.raises(RequestRefusedError, match="comes back with a restart"):
            await owner.close_guests()
        await until_refused(phone)
        closed = await owner.guests()
        assert (closed.open, closed.guest_keys, closed.phones) == (False, 0, 0)
        keys.rmdir()
        keys.write_bytes(kept)
    assert b'"guest": true' not in keys.read_bytes()


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


@pytest_asyncio.fixture(loop_scope="module")
async def make_key(owner: DaemonClient) -> AsyncIterator[Callable[..., Awaitable[NewKey]]]:
    """Make keys that are gone after the test."""
    made: list[str] = []

    async def make(*scopes: str) -> NewKey:
        new = await owner.add_key(f"key {len(made)}", scopes=scopes)
        made.append(new.key.id)
        return new

    yield make
    for one in made:
        await owner.remove_key(one)


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


async def test_a_question_that_waits_hears_its_place(
    phone: httpx.AsyncClient, guests: GuestAccess, node: HearthNode
) -> None:
    """As comments of the stream, which programs skip; then come the events."""
    await come_in(phone, guests)
    mark = {"X-Hearthmesh": "page"}
    async with reaching(node, "127.0.0.1") as program:
        endless = {**QUESTION, "max_tokens": 15_000, "stream": True}
        async with program.stream("POST", CHAT, json=endless) as running:
            words = running.aiter_lines()  # kept: dropped, it would end the answer
            await anext(words)
            async with phone.stream("POST", CHAT, json={**QUESTION, "stream": True}, headers=mark) as waiting:
                lines = waiting.aiter_lines()
                assert (waiting.status_code, await anext(lines)) == (200, ": queue 1")
                assert node.administration.status().queue.guest == 1
                await running.aclose()
                rest = [line async for line in lines if line]
    assert rest[0].startswith("data: {")
    assert rest[-1] == "data: [DONE]"


async def test_what_befalls_a_question_that_waits_is_told(
    phone: httpx.AsyncClient, guests: GuestAccess, node: HearthNode
) -> None:
    """The stream has begun by then: the error is its last event."""
    await come_in(phone, guests)
    too_long = {"messages": [{"role": "user", "content": "x" * 40_000}], "stream": True}
    endless = {**QUESTION, "max_tokens": 15_000, "stream": True}
    async with reaching(node, "127.0.0.1") as program, program.stream("POST", CHAT, json=endless) as running:
        words = running.aiter_lines()  # kept: dropped, it would end the answer
        await anext(words)
        async with phone.stream("POST", CHAT, json=too_long, headers={"X-Hearthmesh": "page"}) as waiting:
            lines = waiting.aiter_lines()
            assert await anext(lines) == ": queue 1"
            await running.aclose()
            error, done = [line async for line in lines if line]
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == "context_length_exceeded"
    assert done == "data: [DONE]"


async def test_a_phone_that_vanishes_leaves_the_queue(
    phone: httpx.AsyncClient, guests: GuestAccess, node: HearthNode
) -> None:
    """Its place is free at once, not when its turn would have come."""
    await come_in(phone, guests)
    endless = {**QUESTION, "max_tokens": 15_000, "stream": True}
    async with reaching(node, "127.0.0.1") as program, program.stream("POST", CHAT, json=endless) as running:
        words = running.aiter_lines()  # kept: dropped, it would end the answer
        await anext(words)
        async with phone.stream("POST", CHAT, json=endless, headers={"X-Hearthmesh": "page"}) as waiting:
            lines = waiting.aiter_lines()
            assert await anext(lines) == ": queue 1"
        await until(lambda: node.administration.queries.counts().running == 1)
        assert node.administration.status().queue.guest == 0


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


async def test_the_status_says_who_may_ask(owner: DaemonClient, guests: GuestAccess) -> None:
    """Whether the LAN is open, how many phones, what waits; never the key."""
    status = await owner.status()
    assert (status.guests.open, status.guests.phones, status.guests.urls) == (True, 0, ())
    assert (status.queue.owner, status.queue.guest) == (0, 0)
    assert guests.urls


async def test_opening_again_shows_the_same_code(owner: DaemonClient) -> None:
    """Until other limits are wanted: then there is another key, and the first stays valid."""
    first = await owner.open_guests()
    assert (await owner.open_guests()).urls == first.urls
    assert (await owner.guests()).urls == first.urls
    other = await owner.open_guests(per_minute=2)
    assert other.urls != first.urls
    assert (other.per_minute, other.guest_keys) == (2, 2)
    await owner.close_guests()


async def test_the_lan_stays_open_over_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The owner opened it; phones go on, though the code cannot be shown again."""
    config = hearth_config(tmp_path_factory.mktemp("r"), interfaces=("wlan0",))
    owner = DaemonClient(config.socket_path)
    async with living(config, networks=wlan) as node, reaching(node) as phone:
        guests = await owner.open_guests()
        cookie = (await come_in(phone, guests)).cookies[COOKIE]
    async with living(config, networks=wlan) as node, reaching(node) as phone:
        status = await owner.guests()
        assert (status.open, status.phones, status.shows_key) == (True, 1, False)
        await until(lambda: bool(node.administration.guests.status().urls))
        assert (await phone.get("/v1/models", headers={"Cookie": f"{COOKIE}={cookie}"})).status_code == 200
        assert (await phone.post("/guest/session", json={"key": key_in(guests)})).status_code == 204


async def test_a_network_that_comes_later_is_served(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The addresses are followed: one that comes is listened on, one that is gone is not."""
    networks = [*wlan()]
    config = hearth_config(tmp_path_factory.mktemp("l"), interfaces=("wlan0",))
    async with living(config, networks=lambda: tuple(networks)) as node:
        lan = node.lan
        await DaemonClient(node.config.socket_path).open_guests()
        assert lan.addresses == (LAN,)
        networks[:] = [Interface("wlan0", up=True, networks=("127.0.0.3/8", "8.8.8.8/24", "127.0.0.1/8"))]
        lan.look_again()
        await until(lambda: lan.addresses == ("127.0.0.3",))
        async with reaching(node, "127.0.0.3") as phone:
            assert (await phone.get("/health")).status_code == 200

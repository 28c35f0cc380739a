"""HTTPS of a whole node, as a phone meets it; its LAN is another loopback address, so that no network is needed."""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from device.api import GuestAccess, HttpsAddress
from device.client import DaemonClient
from device.config import HearthConfig, HttpConfig
from device.errors import DataDirectoryError, PortInUseError
from device.http.gate import COOKIE, TLS_COOKIE
from device.node import HearthNode
from mesh.errors import PageCertificateError
from mesh.interfaces import Interface
from tests.device.http.phones import CHAT, LAN, QUESTION, come_in, key_in, reaching, refusal, wlan
from tests.models.waiting import until
from tests.sim.hearth import hearth_config, living

pytestmark = pytest.mark.asyncio(loop_scope="module")


def https_config(folder: Path) -> HearthConfig:
    """A node that is to be reached over TLS, at any free port."""
    config = hearth_config(folder, name="Kitchen box", context_tokens=16_384, interfaces=("wlan0",))
    return replace(config, http=HttpConfig(port=0, https=True, https_port=0))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> AsyncIterator[HearthNode]:
    """A node with a network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        async with living(https_config(tmp_path_factory.mktemp("s")), holds="tiny", networks=wlan) as node:
            yield node


@pytest_asyncio.fixture(loop_scope="module")
async def guests(node: HearthNode) -> AsyncIterator[GuestAccess]:
    """The LAN, open to guests who may ask much."""
    owner = DaemonClient(node.config.socket_path)
    yield await owner.open_guests(per_minute=1000, per_day=0)
    await owner.close_guests()


@pytest_asyncio.fixture(loop_scope="module")
async def phone(node: HearthNode, guests: GuestAccess) -> AsyncIterator[httpx.AsyncClient]:
    """A phone that came by https, and whose user went on after the warning."""
    assert guests.open
    async with secured(node) as client:
        yield client


def https_of(node: HearthNode) -> HttpsAddress:
    """What the node says of it."""
    https = node.administration.https
    assert https is not None
    return https


def secured(node: HearthNode) -> httpx.AsyncClient:
    """A client of the node's address over TLS."""
    base = f"https://{LAN}:{https_of(node).port}"
    return httpx.AsyncClient(base_url=base, timeout=60, trust_env=False, verify=False)  # noqa: S501  self-signed


def shown_by(host: str, port: int) -> str:
    """The fingerprint of the certificate that is served there, as a browser shows it."""
    served = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, port)))
    digest = hashlib.sha256(served).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


async def test_a_question_is_answered_over_https(phone: httpx.AsyncClient, guests: GuestAccess) -> None:
    """The page, the key, the cookie and the answer, as over plain HTTP."""
    page = await phone.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert (await come_in(phone, guests)).status_code == 204
    own = {"Origin": str(phone.base_url).rstrip("/")}
    asked = await phone.post(CHAT, json=QUESTION, headers=own)
    assert asked.json()["usage"]["completion_tokens"] == 3


async def test_the_fingerprint_told_is_the_certificates(node: HearthNode, guests: GuestAccess) -> None:
    """In the status and beside the addresses; what a browser shows is the same."""
    owner, https = DaemonClient(node.config.socket_path), https_of(node)
    shown = await asyncio.to_thread(shown_by, LAN, https.port)
    status = await owner.status()
    assert status.https == https
    assert shown == https.fingerprint == guests.fingerprint
    assert status.guests.https_urls == ()  # they hold the key


async def test_the_addresses_stand_beside_the_plain_ones(node: HearthNode, guests: GuestAccess) -> None:
    """With the same key; the QR code is drawn of those, since a warning would frighten."""
    port, key = https_of(node).port, key_in(guests)
    assert guests.https_urls == (f"https://kitchen-box.local:{port}/#k={key}", f"https://{LAN}:{port}/#k={key}")
    assert all(url.startswith("http://") for url in guests.urls)


async def test_the_cookie_is_for_https_alone(node: HearthNode, phone: httpx.AsyncClient, guests: GuestAccess) -> None:
    """No browser sends it over plain HTTP, and one that was heard there opens nothing here."""
    cookie = (await come_in(phone, guests)).headers["set-cookie"].lower()
    assert cookie.startswith(TLS_COOKIE.lower())
    assert {"secure", "httponly", "path=/", "samesite=strict"} <= {part.strip() for part in cookie.split(";")}
    async with reaching(node) as plain:
        heard = (await come_in(plain, guests)).cookies[COOKIE]
        assert (await plain.get("/v1/models")).status_code == 200
    async with secured(node) as sniffer:
        assert refusal(await sniffer.get("/v1/models", headers={"Cookie": f"{COOKIE}={heard}"})) == (
            401,
            "invalid_api_key",
        )


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_sniffer_reads_nothing_over_https(node: HearthNode, guests: GuestAccess, scheme: str) -> None:
    """Neither key nor cookie, question nor answer stand on the wire; over plain HTTP all of them do."""
    port = https_of(node).port if scheme == "https" else node.administration.http.port
    async with tapped(LAN, port) as (tap, heard):
        base = f"{scheme}://{LAN}:{port}"
        async with httpx.AsyncClient(
            base_url=f"{scheme}://127.0.0.1:{tap}",
            headers={"Host": f"{LAN}:{port}", "Origin": base},
            trust_env=False,
            verify=False,  # noqa: S501  self-signed
        ) as phone:
            token = next(iter((await come_in(phone, guests)).cookies.values()))
            cookie = {"Cookie": f"{TLS_COOKIE if scheme == 'https' else COOKIE}={token}"}
            asked = await phone.post(CHAT, json=QUESTION, headers=cookie)
    assert asked.status_code == 200
    secrets = (key_in(guests), token, "hello", '"finish_reason"')
    on_the_wire = [secret.encode() in heard for secret in secrets]
    assert on_the_wire == [scheme == "http"] * len(secrets)


@asynccontextmanager
async def tapped(host: str, port: int) -> AsyncIterator[tuple[int, bytearray]]:
    """A port that leads to that one, and everything that passes in either direction."""
    heard = bytearray()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                heard.extend(piece)
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection(host, port)
        await asyncio.gather(pass_on(reader, back), pass_on(onward, writer))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], heard


async def test_host_and_origin_are_checked(node: HearthNode, phone: httpx.AsyncClient, guests: GuestAccess) -> None:
    """Also the page of plain HTTP, which a stranger may have sent, is another page."""
    await come_in(phone, guests)
    assert refusal(await phone.get("/v1/models", headers={"Host": "evil.example"})) == (403, "forbidden")
    plain = f"http://{LAN}:{node.administration.http.port}"
    for origin in ("https://evil.example", plain, f"http://{LAN}:{https_of(node).port}", f"https://{LAN}"):
        assert refusal(await phone.post(CHAT, json=QUESTION, headers={"Origin": origin})) == (403, "forbidden")
    for host in ("kitchen-box.local", LAN):
        assert (await phone.get("/health", headers={"Host": f"{host}:{https_of(node).port}"})).status_code == 200


async def test_nobody_administers_over_https(node: HearthNode, phone: httpx.AsyncClient) -> None:
    """Whatever key is shown: to the owner's API leads SSH."""
    owner = DaemonClient(node.config.socket_path)
    made = await owner.add_key("mine", scopes=("admin",))
    key = {"Authorization": f"Bearer {made.secret}"}
    assert refusal(await phone.get("/metrics", headers=key)) == (403, "forbidden")
    assert (await phone.get("/api/status", headers=key)).status_code == 404
    await owner.remove_key("mine")


async def test_it_opens_and_closes_with_the_lan(node: HearthNode) -> None:
    """And is never there on loopback, which has no need of it."""
    owner, port = DaemonClient(node.config.socket_path), https_of(node).port
    for _ in range(2):
        assert not await _listens(LAN, port)
        opened = await owner.open_guests()
        assert opened.https_urls
        assert await _listens(LAN, port)
        assert not await _listens("127.0.0.1", port)
        assert (await owner.close_guests()).https_urls == ()
        while await _listens(LAN, port):
            pass  # it is closing


async def _listens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return False
    writer.transport.abort()
    return True


async def test_plain_text_is_cut(node: HearthNode, guests: GuestAccess) -> None:
    """A question that was sent unsealed by mistake is not answered there."""
    assert guests.open
    async with httpx.AsyncClient(base_url=f"http://{LAN}:{https_of(node).port}", trust_env=False) as mistaken:
        with pytest.raises(httpx.TransportError):
            await mistaken.get("/health")


async def test_addresses_are_followed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One that comes is listened on over TLS too, one that is gone is not."""
    networks = [*wlan()]
    config = https_config(tmp_path_factory.mktemp("f"))
    async with living(config, networks=lambda: tuple(networks)) as node:
        await DaemonClient(config.socket_path).open_guests()
        assert node.lan.addresses == node.lan.tls_addresses == (LAN,)
        networks[:] = [Interface("wlan0", up=True, networks=("127.0.0.3/8",))]
        node.lan._news.set()  # as the kernel does
        await until(lambda: node.lan.addresses == node.lan.tls_addresses == ("127.0.0.3",))
        assert await _listens("127.0.0.3", https_of(node).port)


async def test_an_address_where_the_port_is_taken_is_served_in_plain(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """No address is told that leads to another program, and the log says why."""
    config = https_config(tmp_path_factory.mktemp("t"))
    async with living(config, networks=wlan) as node:
        with socket.create_server((LAN, https_of(node).port)):
            opened = await DaemonClient(config.socket_path).open_guests()
        assert (bool(opened.urls), opened.https_urls) == (True, ())
        assert f"cannot listen on {LAN} port {https_of(node).port}" in caplog.text


async def test_a_restart_keeps_the_certificate(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Phones that went on after the warning are not warned again; nobody else reads the file."""
    config = https_config(tmp_path_factory.mktemp("r"))
    async with living(config) as node:
        first = https_of(node).fingerprint
    async with living(config) as node:
        assert https_of(node).fingerprint == first
    assert (config.data_dir / "mesh" / "https.pem").stat().st_mode & 0o777 == 0o600


async def test_without_it_there_is_neither_file_nor_port(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The default."""
    config = hearth_config(tmp_path_factory.mktemp("n"))
    async with living(config) as node:
        assert node.administration.https is None
        status = await DaemonClient(config.socket_path).status()
        assert (status.https, status.guests.fingerprint) == (None, "")
    assert not (config.data_dir / "mesh" / "https.pem").exists()


async def test_a_port_in_use_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    """At the start, not when guests stand at the door; a second hearth on the machine is told too."""
    config = https_config(tmp_path_factory.mktemp("p"))
    async with living(config) as first:
        port = https_of(first).port
        second = https_config(tmp_path_factory.mktemp("q"))
        second = replace(second, http=replace(second.http, https_port=port))
        with pytest.raises(PortInUseError, match=rf"port {port} is in use \(\[http\] https_port\)") as raised:
            await HearthNode(second).run(asyncio.Event())
    assert "HEARTH_HTTP_HTTPS_PORT" in raised.value.hint


async def test_a_damaged_certificate_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The node does not start with another one, of which phones would warn."""
    config = https_config(tmp_path_factory.mktemp("d"))
    path = config.data_dir / "mesh" / "https.pem"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    with pytest.raises(PageCertificateError, match=str(path)):
        await HearthNode(config).run(asyncio.Event())
    assert path.read_bytes() == b"damaged"


async def test_a_certificate_that_cannot_be_read_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A directory in its place, say."""
    config = https_config(tmp_path_factory.mktemp("u"))
    (config.data_dir / "mesh" / "https.pem").mkdir(parents=True)
    with pytest.raises(DataDirectoryError, match="cannot be used"):
        await HearthNode(config).run(asyncio.Event())

"""Opening the network and closing it: whom it reaches, and what the owner is told."""

import httpx
import pytest

from device.api import GuestAccess
from device.client import DaemonClient, RequestRefusedError
from device.http.gate import COOKIE
from device.node import HearthNode
from mesh.interfaces import Interface
from tests.device.http.phones import CHAT, LAN, QUESTION, come_in, key_in, reaching, until_refused, wlan
from tests.models.waiting import until
from tests.sim.hearth import hearth_config, living

pytestmark = pytest.mark.asyncio(loop_scope="module")


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


async def test_the_codes_say_name_and_address(guests: GuestAccess, node: HearthNode) -> None:
    """Old phones know no .local; the key stands in the fragment, which no browser sends anywhere."""
    port, key = node.administration.http.port, key_in(guests)
    assert guests.urls == (f"http://kitchen-box.local:{port}/#k={key}", f"http://{LAN}:{port}/#k={key}")


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
        lan._news.set()  # as the kernel does
        await until(lambda: lan.addresses == ("127.0.0.3",))
        async with reaching(node, "127.0.0.3") as phone:
            assert (await phone.get("/health")).status_code == 200

"""A guest's way in: the owner's QR code, a whole node's gate, a real browser.  The LAN is another loopback address."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Error, Page, expect

from device.api import GuestAccess
from device.client import DaemonClient
from device.config import HttpConfig
from device.node import HearthNode
from mesh.interfaces import Interface
from tests.device.page.test_talking import ask
from tests.sim.hearth import hearth_config, living

pytestmark = [pytest.mark.browser, pytest.mark.program("chromium"), pytest.mark.asyncio(loop_scope="module")]


def wlan() -> tuple[Interface, ...]:
    """A machine with one network."""
    return (Interface("wlan0", up=True, networks=("127.0.0.2/8",)),)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def box(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> AsyncIterator[HearthNode]:
    """A node with a network and a model whose answers are short enough to wait for."""
    config = hearth_config(tmp_path_factory.mktemp("g"), name="Guest box", interfaces=("wlan0",), context_tokens=128)
    config = replace(config, http=HttpConfig(port=0, https=True, https_port=0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        async with living(config, holds="tiny", networks=wlan) as node:
            yield node


@pytest.fixture
def owner(box: HearthNode) -> DaemonClient:
    """The owner's command."""
    return DaemonClient(box.config.socket_path)


def by_address(guests: GuestAccess) -> str:
    """The code for a phone that knows no .local, as the browser of a test is one."""
    return guests.urls[-1]


async def answered(page: Page, count: int = 1) -> None:
    """Wait for the end of so many answers."""
    await expect(page.locator(".by")).to_have_count(count, timeout=30_000)


async def test_a_scanned_code_lets_a_guest_ask(page: Page, owner: DaemonClient, visitor: BrowserContext) -> None:
    """The key becomes a cookie that no script can read; the address no longer holds it; a reload asks for nothing."""
    guests = await owner.open_guests(per_minute=1000, per_day=0)
    await page.goto(by_address(guests))
    await ask(page, "hello")
    await answered(page)
    (cookie,) = await visitor.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"]) == (True, "Strict", -1)
    assert await page.evaluate("document.cookie") == ""
    assert "#" not in page.url
    await page.reload()
    await expect(page.locator("#models .card")).to_have_count(1)
    await ask(page, "again")
    await answered(page)


async def test_without_a_key_the_page_says_what_to_do(page: Page, owner: DaemonClient) -> None:
    """Whoever types the address sees the page, and why it cannot ask."""
    guests = await owner.open_guests(per_minute=1000, per_day=0)
    await page.goto(by_address(guests).partition("#")[0])
    await ask(page, "hello")
    await expect(page.locator(".trouble")).to_contain_text("asks for a key")
    assert await page.locator(".by").count() == 0


async def test_a_key_that_was_taken_back(page: Page, owner: DaemonClient) -> None:
    """A phone that was let in is out at once, and hears so; so is whoever scans the old code."""
    old = await owner.open_guests(per_minute=1000, per_day=0)
    await page.goto(by_address(old))
    await ask(page, "hello")
    await answered(page)
    await owner.close_guests()
    await owner.open_guests(per_minute=1000, per_day=0)
    await ask(page, "still there?")
    await expect(page.locator(".trouble")).to_contain_text("was taken back. Scan the QR code again")
    other = await page.context.new_page()
    await other.goto(by_address(old))
    await expect(other.locator(".notice")).to_contain_text("was taken back")


async def test_a_budget_that_is_used_up(page: Page, owner: DaemonClient) -> None:
    """The page says when it renews."""
    await page.goto(by_address(await owner.open_guests(per_minute=1, per_day=0)))
    await ask(page, "one")
    await answered(page)
    await ask(page, "two")
    await expect(page.locator(".trouble")).to_contain_text(
        "You have used up what this key may ask for now. It renews in"
    )
    assert await page.locator(".by").count() == 1


async def test_who_goes_on_after_the_warning_is_in(page: Page, owner: DaemonClient, visitor: BrowserContext) -> None:
    """A browser warns of our certificate for no other reason than who signed it, and keeps the key over the warning.

    The page then says nothing of readers nearby.
    """
    guests = await owner.open_guests(per_minute=1000, per_day=0)
    with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        await page.goto(guests.https_urls[-1])
    await page.click("#details-button")
    await page.click("#proceed-link")
    await ask(page, "hello")
    await answered(page)
    (cookie,) = await visitor.cookies()
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    assert "#" not in page.url
    await expect(page.locator("#plain-http")).to_be_hidden()
    await expect(page.locator("#sniffers")).to_be_hidden()

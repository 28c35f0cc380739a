"""Everyone can use the page: with a screen reader, with a keyboard, in the dark, without a mouse."""

from typing import Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from tests.device.page.conftest import PHONE
from tests.device.page.scripted import ScriptedHearth
from tests.device.page.test_talking import ask

pytestmark = [pytest.mark.browser, pytest.mark.program("chromium"), pytest.mark.asyncio(loop_scope="module")]
ANSWER = "## Bread\n\nMade of **flour** and `water`, see https://bread.example/\n\n- salt\n\n```\ncode\n```\n\n> wait\n"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(browser: Browser, scripted: ScriptedHearth, scheme: Literal["light", "dark"]) -> None:
    """No violation of axe-core's rules (WCAG 2 A, AA, best practice): empty, in trouble, answering, with the card."""
    # The tool puts its script into the page, which the page's policy rightly forbids.
    context = await browser.new_context(viewport=PHONE, color_scheme=scheme, bypass_csp=True)
    page = await context.new_page()
    await page.goto(scripted.url)
    await expect(page.locator("#models .card")).to_have_count(1)
    assert await violations(page) == []
    scripted.refuse(503, "busy")
    await ask(page, "What is bread made of?")
    await expect(page.locator(".trouble")).to_be_visible()
    assert await violations(page) == []
    await ask(page, "And now?")
    scripted.says(ANSWER)
    await expect(page.locator(".answer li")).to_be_visible()
    assert await violations(page) == []
    scripted.ends()
    await expect(page.locator(".by")).to_be_visible()
    await page.click("#open-about")
    assert await violations(page) == []
    await context.close()


async def violations(page: Page) -> list[str]:
    """What axe has to say."""
    found = (await Axe().run(page)).response["violations"]
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


async def test_a_screen_reader_hears_each_block_once(page: Page, scripted: ScriptedHearth) -> None:
    """The live region gets whole paragraphs, never the one that is growing; the end is announced."""
    await page.goto(scripted.url)
    await ask(page, "Hello?")
    live, growing = page.locator(".answer [aria-live=polite]"), page.locator(".answer > div:nth-child(2)")
    scripted.says("First ", "paragraph.\n\n", "Second")
    await expect(growing).to_have_text("First paragraph.Second")
    assert await live.inner_text() == ""
    scripted.says(" one.\n\nThird")
    await expect(live).to_have_text("First paragraph.")
    scripted.ends()
    await expect(live).to_have_text("First paragraph.Second one.Third")
    assert await growing.inner_text() == ""
    await expect(page.get_by_role("status")).to_have_text("Answered by workshop with smollm2-135m.")


async def test_the_keyboard_is_enough(page: Page, scripted: ScriptedHearth) -> None:
    """The first stop leads to the question; Enter asks, Shift+Enter makes a line; the stop button is next to it."""
    await page.goto(scripted.url)
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#question")).to_be_focused()
    await page.keyboard.type("Hello")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("there")
    await page.keyboard.press("Enter")
    await expect(page.locator("#stop")).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.locator("#stop")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#question")).to_be_focused()
    await expect(page.locator(".by")).to_have_text("Stopped before an answer began.")
    await page.fill("#question", "Again")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("#stop")).to_be_focused()
    scripted.ends()
    await expect(page.locator("#question")).to_be_focused()
    assert scripted.asked[0]["messages"][0]["content"] == "Hello\nthere"


async def test_the_dark_is_dark(browser: Browser, scripted: ScriptedHearth) -> None:
    """The phone's own setting decides."""
    grounds = {}
    for scheme in ("light", "dark"):
        context = await browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
        page = await context.new_page()
        await page.goto(scripted.url)
        grounds[scheme] = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        await context.close()
    assert grounds == {"light": "rgb(250, 246, 240)", "dark": "rgb(23, 18, 14)"}


async def test_without_javascript_it_says_what_is_missing(browser: Browser, scripted: ScriptedHearth) -> None:
    """No empty page."""
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(scripted.url)
    await expect(page.locator("main")).to_contain_text("This page needs JavaScript")
    await context.close()


async def test_a_narrow_screen_needs_no_sideways_scrolling(page: Page, scripted: ScriptedHearth) -> None:
    """Long words, addresses and code stay inside 320 pixels (WCAG 1.4.10)."""
    await page.set_viewport_size({"width": 320, "height": 568})
    await page.goto(scripted.url)
    await ask(page, "w" * 300)
    scripted.says(f"{'x' * 300} https://example.org/{'y' * 300}\n\n```\n{'z' * 300}\n```\n\n| {'t' * 300} |")
    scripted.ends(node_name="n" * 60)
    await expect(page.locator(".by")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == 320

"""A browser for all tests of the page, a fresh visitor for each, and whom they visit."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright

from device.node import HearthNode
from tests.device.page.scripted import ScriptedHearth
from tests.sim.hearth import hearth_config, living

PHONE: Final = ViewportSize(width=390, height=844)
WITHIN_MS: Final = 10_000


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A phone that has never been here; nothing may go wrong in its page unnoticed."""
    context = await browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    context.set_default_timeout(WITHIN_MS)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(visitor: BrowserContext) -> AsyncIterator[Page]:
    """An empty tab; errors of scripts and what the policy forbids fail the test."""
    page = await visitor.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None)
    yield page
    assert faults == []


@pytest_asyncio.fixture(loop_scope="module")
async def scripted() -> AsyncIterator[ScriptedHearth]:
    """A box whose every word the test chooses."""
    async with ScriptedHearth("ember").open() as hearth:
        yield hearth


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> AsyncIterator[HearthNode]:
    """A whole node with a tiny model."""
    config = hearth_config(tmp_path_factory.mktemp("h"), context_tokens=16_384)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        async with living(config, holds="tiny") as node:
            yield node

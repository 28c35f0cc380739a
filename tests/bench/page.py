"""The guest page on a slow phone: what it weighs, and how soon a question can be typed and sent.

Slow 4G and a processor four times slower, as Lighthouse applies them in Chromium (its throttling constants): each
request waits 562.5 ms, then 1.44 Mbit/s come down.
"""

import asyncio
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, async_playwright

from tests.bench.rows import Row
from tests.device.page.conftest import PHONE
from tests.e2e.hearths import Hearth

VISITS: Final = 7
SLOW_4G: Final = {
    "offline": False,
    "latency": 562.5,  # ms
    "downloadThroughput": 1_440_000 / 8,
    "uploadThroughput": 675_000 / 8,
}
SLOWER_CPU: Final = 4
# The scripts stand at the end of the document: once they have run, and something is painted, a question can be sent.
USABLE: Final = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const [paint] = performance.getEntriesByName("first-contentful-paint");
  return [page.encodedBodySize, page.decodedBodySize, Math.max(page.domContentLoadedEventEnd, paint.startTime)];
}"""


def rows() -> list[Row]:
    """Measure the page of a whole node."""
    with (
        tempfile.TemporaryDirectory(prefix="hearth-bench-") as folder,
        Hearth(Path(folder) / "page", name="page") as one,
    ):
        http = one.json("status")["http"]
        packed, plain, usable_ms = asyncio.run(_visits(f"http://{http['host']}:{http['port']}/"))
    return [
        Row(name="guest page, on the wire", value=packed / 1000, unit="kB", goal="<= 100"),
        Row(name="guest page, unpacked", value=plain / 1000, unit="kB", goal="<= 100"),
        Row(name="guest page usable, Slow 4G, 4x CPU", value=usable_ms / 1000, unit="s", goal="<= 1"),
    ]


async def _visits(url: str) -> tuple[float, float, float]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"))
        seen = [await _visit(browser, url) for _ in range(VISITS)]
        await browser.close()
    packed, plain, usable_ms = (statistics.median(figures) for figures in zip(*seen, strict=True))
    return packed, plain, usable_ms


async def _visit(browser: Browser, url: str) -> tuple[float, float, float]:
    """One phone that has never been there: bytes on the wire, bytes of the document, milliseconds until usable."""
    context = await browser.new_context(viewport=PHONE, is_mobile=True, has_touch=True)
    page = await context.new_page()
    chromium = await context.new_cdp_session(page)
    await chromium.send("Network.enable")
    await chromium.send("Network.emulateNetworkConditions", SLOW_4G)
    await chromium.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER_CPU})
    await page.goto(url)
    await page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
    packed, plain, usable_ms = await page.evaluate(USABLE)
    await context.close()
    return packed, plain, usable_ms

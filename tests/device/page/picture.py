"""Draw docs/images/phone-*.png: a guest's phone, asking a real hearth with the real model.

`python -m tests.device.page.picture`
"""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Final, Literal

from playwright.async_api import Browser, async_playwright, expect

from tests.device.page.conftest import PHONE
from tests.e2e.hearths import Hearth

MODEL: Final = "smollm2-135m"
QUESTIONS: Final = ("What is bread made of?", "Name three things to cook with it, as a list.")
FOLDER: Final = Path(__file__).resolve().parents[3] / "docs" / "images"
ANSWERED_WITHIN_MS: Final = 120_000


async def draw(url: str) -> None:
    """Take the pictures, in the light and in the dark."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"))
        await draw_one(browser, url, "light")
        await draw_one(browser, url, "dark")
        await browser.close()


async def draw_one(browser: Browser, url: str, scheme: Literal["light", "dark"]) -> None:
    """Ask the questions and keep what stands on the screen; in the light also the beginning and the model's card."""
    context = await browser.new_context(viewport=PHONE, is_mobile=True, has_touch=True, color_scheme=scheme)
    page = await context.new_page()
    await page.goto(url)
    await expect(page.locator("#models .card")).to_have_count(1)
    if scheme == "light":
        await page.screenshot(path=FOLDER / "phone-start.png")
        await page.click("#open-about")
        await page.screenshot(path=FOLDER / "phone-about.png")
        await page.click("#open-about")
    for number, question in enumerate(QUESTIONS, 1):
        await page.fill("#question", question)
        await page.click("#ask")
        await expect(page.locator(".by")).to_have_count(number, timeout=ANSWERED_WITHIN_MS)
    await page.evaluate("document.activeElement.blur()")
    await page.screenshot(path=FOLDER / f"phone-{scheme}.png")
    await context.close()


def main() -> None:
    """Start a hearth and draw it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Hearth(Path(folder) / "kitchen", name="kitchen") as kitchen:
        kitchen.run("models", "pull", MODEL)
        http = kitchen.json("status")["http"]
        asyncio.run(draw(f"http://{http['host']}:{http['port']}/"))


if __name__ == "__main__":
    main()

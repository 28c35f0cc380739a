"""Draw docs/images/tui.svg: two real hearths, and the interface of the one without a model asking the other.

`python -m tests.tui.picture`
"""

import asyncio
import re
import tempfile
from functools import partial
from pathlib import Path

from textual.pilot import Pilot

from tests.e2e.hearths import Hearth
from tests.tui.conftest import screen_text, until
from tui.app import HearthApp
from tui.glyphs import RICH

MODEL = "smollm2-135m"
QUESTIONS = ("What is the capital of France?", "What is bread made of?")
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "tui.svg"
_WEB_FONTS = re.compile(r"@font-face\s*\{.*?\}\s*", re.DOTALL)  # a picture fetches nothing


async def draw(kitchen: Hearth) -> str:
    """Ask the questions and export what stands on the screen."""
    app = HearthApp(kitchen.data_dir / "api.sock", glyphs=RICH)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "linked" in screen_text(pilot) and MODEL in screen_text(pilot))
        await pilot.press("3")
        for number, question in enumerate(QUESTIONS, 1):
            await pilot.press(*question, "enter")
            await until(pilot, partial(_answered, pilot, number))
        await pilot.pause()
        return _WEB_FONTS.sub("", app.export_screenshot(title="hearth tui"))


def _answered(pilot: Pilot[None], number: int) -> bool:
    return screen_text(pilot).count("tokens/s") == number


def main() -> None:
    """Start the hearths, pair them, draw."""
    with tempfile.TemporaryDirectory() as folder:
        workshop, kitchen = (Hearth(Path(folder) / name, name=name) for name in ("workshop", "kitchen"))
        with workshop, kitchen:
            workshop.run("models", "pull", MODEL)
            kitchen.run("join", *workshop.json("pair")["words"].split())
            picture = asyncio.run(draw(kitchen))
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(picture)


if __name__ == "__main__":
    main()

"""The interface against a daemon of scripted answers, driven by keys."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_textual_snapshot import SVGImageExtension  # type: ignore[import-untyped]  # ships no types
from textual.pilot import Pilot
from textual.widget import Widget

from tests.sim.daemon import SimulatedDaemon
from tui.app import HearthApp
from tui.glyphs import RICH

WITHIN_S = 20.0

SVGImageExtension.file_extension = "svg"  # the plugin still sets the name that syrupy had for it before


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[SimulatedDaemon]:
    """A simulated daemon whose pulls stop half-way until released."""
    with SimulatedDaemon(tmp_path, slow_pull=True) as daemon:
        yield daemon


@pytest.fixture
def app(daemon: SimulatedDaemon) -> HearthApp:
    """The interface on that daemon, with every glyph."""
    return HearthApp(daemon.socket_path, glyphs=RICH)


def screen_text(pilot: Pilot[None]) -> str:
    """What stands on the screen, as lines of characters."""
    strips = pilot.app.screen._compositor.render_strips(pilot.app.size)
    return "\n".join(strip.text for strip in strips)


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Let the interface run until the condition holds."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"it never came to that:\n{screen_text(pilot)}"
        await asyncio.sleep(0.03)
        await pilot.pause()


async def until_seen(pilot: Pilot[None], *texts: str) -> None:
    """Let the interface run until all of these stand on the screen."""
    await until(pilot, lambda: all(text in screen_text(pilot) for text in texts))


async def until_gone(pilot: Pilot[None], text: str) -> None:
    """Let the interface run until this no longer stands on the screen."""
    await until(pilot, lambda: text not in screen_text(pilot))


def focused(pilot: Pilot[None]) -> str | None:
    """Id of the widget that has the keys."""
    widget: Widget | None = pilot.app.focused
    return widget.id if widget else None

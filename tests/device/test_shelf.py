"""Pins and last uses outlive the daemon, wear the card little, and trust no clock."""

import json
from pathlib import Path

import pytest

from device.core.quota import NEVER
from device.errors import DataDirectoryError
from device.shelf import MAX_PINS, MAX_USES, Shelf
from tests.models.waiting import until


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_pin_is_on_the_disk_at_once(tmp_path: Path) -> None:
    """And taken off as surely; saying it twice writes once."""
    path = tmp_path / "shelf.json"
    shelf = Shelf(path)
    await shelf.pin("tiny", pinned=True)
    assert Shelf(path).is_pinned("tiny")
    written = path.stat().st_mtime_ns
    await shelf.pin("tiny", pinned=True)
    assert path.stat().st_mtime_ns == written
    await shelf.pin("tiny", pinned=False)
    assert not Shelf(path).is_pinned("tiny")


async def test_uses_are_written_at_the_end(tmp_path: Path) -> None:
    """Not with every answer; they count the node's running time, whatever a clock says."""
    clock = _Clock()
    path = tmp_path / "shelf.json"
    shelf = Shelf(path, clock=clock)
    shelf.used("a" * 64)
    clock.now += 50
    shelf.used("b" * 64)
    clock.now += 5
    assert not path.exists()
    assert (shelf.used_ago_s("a" * 64), shelf.used_ago_s("b" * 64), shelf.used_ago_s("c")) == (55, 5, None)
    await shelf.aclose()
    later = Shelf(path, clock=_Clock())
    assert (later.used_ago_s("a" * 64), later.used_ago_s("b" * 64)) == (55, 5)
    assert later.used_at("a" * 64) < later.used_at("b" * 64)
    assert later.used_at("c") == NEVER


async def test_uses_are_written_now_and_then(tmp_path: Path) -> None:
    """One write for all of them, so that a power cut costs no more than those since."""
    path = tmp_path / "shelf.json"
    shelf = Shelf(path, write_after_s=0.02)
    for _ in range(100):
        shelf.used("a" * 64)
    await until(path.exists)
    await shelf.aclose()
    assert Shelf(path).used_ago_s("a" * 64) is not None


async def test_a_life_that_ended_in_a_power_cut_orders_nothing_wrongly(tmp_path: Path) -> None:
    """The age goes on from the latest use that was written."""
    path = tmp_path / "shelf.json"
    path.write_text(json.dumps({"version": 1, "age_s": 10.0, "uses": [{"digest": "a", "at_s": 900.0}]}))
    shelf = Shelf(path, clock=_Clock())
    shelf.used("b")
    assert shelf.used_at("b") >= shelf.used_at("a")
    await shelf.aclose()


async def test_it_does_not_grow_without_end(tmp_path: Path) -> None:
    """The oldest uses are forgotten; so many pins nobody needs."""
    clock = _Clock()
    shelf = Shelf(tmp_path / "shelf.json", clock=clock)
    for number in range(MAX_USES + 1):
        clock.now += 1
        shelf.used(str(number))
    assert shelf.used_at("0") == NEVER
    assert shelf.used_at("1") > 0
    await shelf.aclose()
    pins = [str(number) for number in range(MAX_PINS)]
    (tmp_path / "pins.json").write_text(json.dumps({"version": 1, "pinned": pins}))
    with pytest.raises(DataDirectoryError, match="pinned already"):
        await Shelf(tmp_path / "pins.json").pin("one more", pinned=True)


async def test_a_pin_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    """The error says so; a use that cannot be written is tried again and stops nobody."""
    shelf = Shelf(tmp_path / "gone" / "shelf.json")
    with pytest.raises(DataDirectoryError):
        await shelf.pin("tiny", pinned=True)
    assert not shelf.is_pinned("tiny")
    shelf.used("a" * 64)
    await shelf.aclose()
    (tmp_path / "gone").mkdir()
    await shelf.aclose()
    assert Shelf(tmp_path / "gone" / "shelf.json").used_ago_s("a" * 64) is not None


async def test_a_removed_model_is_not_pinned(tmp_path: Path) -> None:
    """Another of its name must be pinned anew."""
    shelf = Shelf(tmp_path / "shelf.json")
    await shelf.pin("tiny", pinned=True)
    await shelf.forget("tiny")
    await shelf.forget("other")
    assert not Shelf(tmp_path / "shelf.json").is_pinned("tiny")


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 10_000, '{"version": 2}', '{"version": 1, "pinned": [7]}', "\N{SNOWMAN}"]
)
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    """Nothing is unpinned in silence."""
    (tmp_path / "shelf.json").write_text(text)
    with pytest.raises(DataDirectoryError, match=r"shelf\.json") as raised:
        Shelf(tmp_path / "shelf.json")
    assert "move it away" in raised.value.hint
    (tmp_path / "shelf.json").unlink()
    (tmp_path / "shelf.json").mkdir()
    with pytest.raises(DataDirectoryError, match="cannot be read"):
        Shelf(tmp_path / "shelf.json")

"""Pins and last uses outlive the daemon, wear the card little, and trust no clock."""

import json
from pathlib import Path

import pytest

from device.core.quota import NEVER
from device.errors import DataDirectoryError
from device.retention import MAX_PINS, MAX_USES, Retention
from tests.models.waiting import until


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_pin_is_on_the_disk_at_once(tmp_path: Path) -> None:
    """And taken off as surely; saying it twice writes once."""
    path = tmp_path / "retention.json"
    retention = Retention(path)
    await retention.pin("tiny", pinned=True)
    assert Retention(path).is_pinned("tiny")
    written = path.stat().st_mtime_ns
    await retention.pin("tiny", pinned=True)
    assert path.stat().st_mtime_ns == written
    await retention.pin("tiny", pinned=False)
    assert not Retention(path).is_pinned("tiny")


async def test_uses_are_written_at_the_end(tmp_path: Path) -> None:
    """Not with every answer; they count the node's running time, whatever a clock says."""
    clock = _Clock()
    path = tmp_path / "retention.json"
    retention = Retention(path, clock=clock)
    retention.used("a" * 64)
    clock.now += 50
    retention.used("b" * 64)
    clock.now += 5
    assert not path.exists()
    assert (retention.used_ago_s("a" * 64), retention.used_ago_s("b" * 64), retention.used_ago_s("c")) == (55, 5, None)
    await retention.aclose()
    later = Retention(path, clock=_Clock())
    assert (later.used_ago_s("a" * 64), later.used_ago_s("b" * 64)) == (55, 5)
    assert later.used_at("a" * 64) < later.used_at("b" * 64)
    assert later.used_at("c") == NEVER


async def test_uses_are_written_now_and_then(tmp_path: Path) -> None:
    """One write for all of them, so that a power cut costs no more than those since."""
    path = tmp_path / "retention.json"
    retention = Retention(path, write_after_s=0.02)
    for _ in range(100):
        retention.used("a" * 64)
    await until(path.exists)
    await retention.aclose()
    assert Retention(path).used_ago_s("a" * 64) is not None


async def test_a_life_that_ended_in_a_power_cut_orders_nothing_wrongly(tmp_path: Path) -> None:
    """The age goes on from the latest use that was written."""
    path = tmp_path / "retention.json"
    path.write_text(json.dumps({"version": 1, "age_s": 10.0, "uses": [{"digest": "a", "at_s": 900.0}]}))
    retention = Retention(path, clock=_Clock())
    retention.used("b")
    assert retention.used_at("b") >= retention.used_at("a")
    await retention.aclose()


async def test_it_does_not_grow_without_end(tmp_path: Path) -> None:
    """The oldest uses are forgotten; so many pins nobody needs."""
    clock = _Clock()
    retention = Retention(tmp_path / "retention.json", clock=clock)
    for number in range(MAX_USES + 1):
        clock.now += 1
        retention.used(str(number))
    assert retention.used_at("0") == NEVER
    assert retention.used_at("1") > 0
    await retention.aclose()
    pins = [str(number) for number in range(MAX_PINS)]
    (tmp_path / "pins.json").write_text(json.dumps({"version": 1, "pinned": pins}))
    with pytest.raises(DataDirectoryError, match="pinned already"):
        await Retention(tmp_path / "pins.json").pin("one more", pinned=True)


async def test_a_pin_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    """The error says so; a use that cannot be written is tried again and stops nobody."""
    retention = Retention(tmp_path / "gone" / "retention.json")
    with pytest.raises(DataDirectoryError):
        await retention.pin("tiny", pinned=True)
    assert not retention.is_pinned("tiny")
    retention.used("a" * 64)
    await retention.aclose()
    (tmp_path / "gone").mkdir()
    await retention.aclose()
    assert Retention(tmp_path / "gone" / "retention.json").used_ago_s("a" * 64) is not None


async def test_a_removed_model_is_not_pinned(tmp_path: Path) -> None:
    """Another of its name must be pinned anew."""
    retention = Retention(tmp_path / "retention.json")
    await retention.pin("tiny", pinned=True)
    await retention.forget("tiny")
    await retention.forget("other")
    assert not Retention(tmp_path / "retention.json").is_pinned("tiny")


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 10_000, '{"version": 2}', '{"version": 1, "pinned": [7]}', "\N{SNOWMAN}"]
)
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    """Nothing is unpinned in silence."""
    (tmp_path / "retention.json").write_text(text)
    with pytest.raises(DataDirectoryError, match=r"retention\.json") as raised:
        Retention(tmp_path / "retention.json")
    assert "move it away" in raised.value.hint
    (tmp_path / "retention.json").unlink()
    (tmp_path / "retention.json").mkdir()
    with pytest.raises(DataDirectoryError, match="cannot be read"):
        Retention(tmp_path / "retention.json")

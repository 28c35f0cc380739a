"""The counts on the disk: whole or not at all, of one community, on the node's own age."""

import asyncio
import json
from pathlib import Path

import pytest

from device.contributions.accounts_file import FILE_NAME, AccountsFile
from device.core.contribution_accounts import Pace
from device.errors import DataDirectoryError
from mesh.core.contributions import Amount

SOME = Amount(3, 400, 5000)


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        """Tell."""
        return self.now_s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the counts are."""
    return tmp_path / FILE_NAME


def test_what_is_written_is_read_back(path: Path) -> None:
    """Every count, whose it is, and for how long the node has been running."""
    clock = Clock()
    file = AccountsFile(path, clock=clock)
    file.belong("harbour")
    file.accounts.received("a", SOME)
    file.accounts.gave("b", SOME)
    file.accounts.counter_sign("b", 4, SOME, Pace(min_tokens=1))
    file.accounts.settle("a", 7, Amount(1, 0, 0))
    clock.now_s += 1000
    file.said_at_s = file.age()
    asyncio.run(file.write())
    again = AccountsFile(path, clock=Clock())
    assert again.accounts.all() == file.accounts.all()
    assert again.age() == again.said_at_s == 1000
    again.belong("harbour")
    assert again.accounts.all() == file.accounts.all()
    again.belong("elsewhere")
    assert (again.accounts.all(), again.said_at_s) == ({}, 1000)


def test_what_has_not_changed_is_not_written(path: Path) -> None:
    """But where the time it ran is to be kept too; without a count there is no file."""
    clock = Clock()
    file = AccountsFile(path, clock=clock)
    asyncio.run(file.write())
    asyncio.run(file.write_age())
    assert not path.exists()
    file.accounts.received("a", SOME)
    asyncio.run(file.write())
    before = path.read_bytes()
    clock.now_s += 1000
    asyncio.run(file.write())
    assert path.read_bytes() == before
    asyncio.run(file.write_age())
    assert AccountsFile(path, clock=Clock()).age() == 1000
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"age_s": "long"},
        {"accounts": [{"node_id": "a"}]},
        {"accounts": 5},
    ],
)
def test_another_file_is_refused_and_left_alone(path: Path, change: dict[str, object]) -> None:
    """With a hint at what to do."""
    fields = {"version": 1, "whose": "harbour", "age_s": 5.0, "said_at_s": 1.0, "accounts": []} | change
    path.write_text(json.dumps(fields))
    with pytest.raises(DataDirectoryError) as refused:
        AccountsFile(path)
    assert "move it away" in refused.value.hint
    assert json.loads(path.read_text()) == fields


@pytest.mark.parametrize(
    "change",
    [{"period": -1}, {"received": {"tokens": -1}}, {"given": {"tokens": 2**48 + 1}}, {"signed": {"answers": 0.5}}],
)
def test_counts_out_of_range_are_none(path: Path, change: dict[str, object]) -> None:
    """Nothing of them is used."""
    file = AccountsFile(path)
    file.accounts.received("a", SOME)
    asyncio.run(file.write())
    fields = json.loads(path.read_bytes())
    fields["accounts"][0] |= change
    path.write_text(json.dumps(fields))
    with pytest.raises(DataDirectoryError):
        AccountsFile(path)


def test_too_many_accounts_are_none(path: Path) -> None:
    """More than a community has members."""
    file = AccountsFile(path)
    file.accounts.received("a", SOME)
    asyncio.run(file.write())
    fields = json.loads(path.read_bytes())
    fields["accounts"] *= 513
    path.write_text(json.dumps(fields))
    with pytest.raises(DataDirectoryError, match="accounts"):
        AccountsFile(path)

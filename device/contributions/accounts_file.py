"""The counts of what members and this node gave each other, in one small file that is written as a whole.

Times are the node's own age, so that a wrong clock hurries nothing.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from device.core.contribution_accounts import MAX_ACCOUNTS, Account, Accounts
from device.data_directory import write_atomically
from device.errors import DataDirectoryError
from device.parsing import MalformedReplyError, parse
from mesh.core.contributions import MOST, NOTHING, Amount

FILE_NAME: Final = "contributions.json"
VERSION: Final = 1
MAX_FILE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class _KeptAccount:
    node_id: str
    period: int
    received: Amount
    given: Amount
    signed_period: int
    signed: Amount


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The file.  whose: the community, and this node's key in it; age_s: how long the node had been running."""

    version: int
    whose: str = ""
    age_s: float = 0.0
    said_at_s: float = 0.0
    accounts: tuple[_KeptAccount, ...] = ()


class AccountsFile:
    """The counts, for one community at a time.  said_at_s: the node's age when it last signed a contribution."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file; where there is none nothing was counted.  Raises DataDirectoryError for one that is none."""
        self._path = path
        self._clock = clock
        kept = _read(path)
        self._whose = kept.whose
        self._age_at_start_s, self._started_at = kept.age_s, clock()
        self.said_at_s = kept.said_at_s
        self.accounts = Accounts({one.node_id: _account(one) for one in kept.accounts})
        self._written = self._state()
        self._writing: asyncio.Future[None] | None = None

    def age(self) -> float:
        """For how many seconds this node has been running, all its lives together, as far as that was written."""
        return self._age_at_start_s + self._clock() - self._started_at

    def belong(self, whose: str) -> None:
        """Count for this community and key from now on; what was counted for another is forgotten."""
        if whose != self._whose:
            self._whose, self.said_at_s, self.accounts = whose, self.age(), Accounts()

    async def write(self) -> None:
        """Have on the disk what is counted; where it is there already nothing is done.  Raises DataDirectoryError."""
        if self._state() != self._written:
            await self._write()

    async def write_age(self) -> None:
        """Write the node's age too, where anything is counted.  Raises DataDirectoryError."""
        if self._state() != self._written or self.accounts.all():
            await self._write()

    def _state(self) -> tuple[str, float, Mapping[str, Account]]:
        return self._whose, self.said_at_s, self.accounts.all()

    async def _write(self) -> None:
        if self._writing is not None:  # whoever began it was cancelled, and the disk was not
            await asyncio.wait((self._writing,))
        state = self._state()
        kept = _Kept(
            version=VERSION,
            whose=self._whose,
            age_s=self.age(),
            said_at_s=self.said_at_s,
            accounts=tuple(_KeptAccount(node_id=peer, **vars(one)) for peer, one in state[2].items()),
        )
        content = json.dumps(asdict(kept), indent=1).encode() + b"\n"
        self._writing = asyncio.ensure_future(asyncio.to_thread(write_atomically, self._path, content))
        await asyncio.shield(self._writing)
        self._written, self._writing = state, None


def _account(one: _KeptAccount) -> Account:
    return Account(
        period=one.period,
        received=one.received,
        given=one.given,
        signed_period=one.signed_period,
        signed=one.signed,
    )


def _read(path: Path) -> _Kept:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        kept = parse(_Kept, json.loads(text), path.name)
        _check(kept)
    except FileNotFoundError:
        return _Kept(version=VERSION)
    except (OSError, ValueError, RecursionError) as error:
        damaged = DataDirectoryError(f"the counts of contributions in {path} cannot be read: {error}")
        damaged.hint = f"move it away ({path} to {path}.old): what no entry of the record says yet is not counted then"
        raise damaged from error
    return kept


def _check(kept: _Kept) -> None:
    if kept.version != VERSION:
        raise MalformedReplyError(f"version {kept.version} is none that this program knows")
    if len(kept.accounts) > MAX_ACCOUNTS:
        raise MalformedReplyError(f"it has more than {MAX_ACCOUNTS} accounts")
    for one in kept.accounts:
        amounts = (one.received, one.given, one.signed)
        if one.period < 0 or any(amount.common(MOST) != amount or NOTHING.less(amount) for amount in amounts):
            raise MalformedReplyError(f"the account with {one.node_id} is out of range")

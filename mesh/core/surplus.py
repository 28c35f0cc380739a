"""What is more than anybody is owed: entries beyond twice what one feed may hold, under all keys and on all branches.

A feed is bounded along `prev`, but a key that forks its feed has as many as it likes.  None may be refused for good,
since somebody else may have built on it.  So what exceeds an **account** is **surplus** until an entry that is none is
built on it: it is kept when it comes, but it is never pushed on, nothing of one's own is built on it, it comes last
wherever entries are sent, and what a neighbour may bring of it is bounded (sync.py).  Which entries are surplus depends
on the order in which they came; what follows from the entries does not.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from mesh.core.authors import Authors
from mesh.core.ballots import Commit, Lock
from mesh.core.entries import Admit, Entry, Remove, RotateKey

FEEDS: Final = 2  # a board that was copied, or put back from a backup, signs two


class Surplus:
    """Keeps the accounts; entries are added one by one, parents first, to `entries` and `authors` before this."""

    def __init__(self, entries: Mapping[bytes, Entry], authors: Authors, limit: Callable[[bytes], int]) -> None:
        """limit: how many bytes a feed of an account may hold."""
        self._entries = entries
        self._authors = authors
        self._limit = limit
        self._bytes = Counter[bytes]()  # by account
        self._ids = set[bytes]()

    def __contains__(self, entry_id: bytes) -> bool:
        return entry_id in self._ids

    def rank(self, entry: Entry) -> int:
        """Say how late an entry is sent: surplus last, but for what changes the number under which nodes share keys."""
        return 0 if entry.id not in self._ids else 1 if self.is_act(entry) else 2

    @staticmethod
    def is_act(entry: Entry) -> bool:
        """Whether an entry may change who belongs, and the number under which nodes share keys."""
        return isinstance(entry.body, Admit | Remove | RotateKey)

    def add(self, entry: Entry) -> list[Entry]:
        """Take an entry that was admitted; return what is surplus no more since this is built on it, children first."""
        account = self._authors.account_of(entry.author) or entry.author
        self._bytes[account] += len(entry.raw)
        if self._is_over(account, 0):
            self._ids.add(entry.id)
            return []
        released: list[Entry] = []
        stack = [*entry.parents] if self._ids else []
        while stack:
            entry_id = stack.pop()
            if entry_id in self._ids:
                self._ids.remove(entry_id)
                released.append(self._entries[entry_id])
                stack.extend(released[-1].parents)
        return released

    def among(self, entries: Sequence[Entry], *, before: Iterable[Entry] = ()) -> set[bytes]:
        """Say which of these would be surplus, and no other of them is built on.  before: what waits to be admitted."""
        more = Counter[bytes]()
        accounts = self._introduced_by(entries)
        over = set[bytes]()
        for entry in (*before, *entries):
            account = accounts.get(entry.author) or self._authors.account_of(entry.author)
            more[account or b""] += len(entry.raw)
            if account is None or self._is_over(account, more[account]):
                over.add(entry.id)
        needed = set[bytes]()
        for entry in reversed(entries):
            if entry.id not in over or entry.id in needed:
                needed.update(cited_by(entry))
        return over - needed

    def _introduced_by(self, entries: Iterable[Entry]) -> dict[bytes, bytes]:
        """Give the accounts of keys that nobody had let in before these entries did."""
        accounts: dict[bytes, bytes] = {}
        for entry in entries:
            key, inviter = entry.lets_in, accounts.get(entry.author) or self._authors.account_of(entry.author)
            if key is not None and inviter is not None and self._authors.account_of(key) is None:
                accounts.setdefault(key, key if isinstance(entry.body, Admit) else inviter)
        return accounts

    def _is_over(self, account: bytes, more: int) -> bool:
        return self._bytes[account] + more > FEEDS * self._limit(account)


def cited_by(entry: Entry) -> tuple[bytes, ...]:
    """Return what must be here for an entry to be taken, and to count."""
    body = entry.body
    votes = body.votes if isinstance(body, Lock) else body.locks if isinstance(body, Commit) else ()
    return (*entry.parents, *votes)

"""Whose entries a ledger takes: a function of the set of entries that only grows with it, so order changes nothing.

The founder's; of whom a key that votes, or voted, let in; of the papers such a key registered; and of the keys that any
of these go on under.  What observers sign lets nobody in: else each could bring in strangers, who bring in more.
Whether an admission counts for membership is another matter (roll.py): it may lose that again, and entries may not.
"""

from collections import Counter
from collections.abc import Callable

from mesh.core.ballots import MAX_INVITATIONS, Recovery
from mesh.core.entries import Admit, Entry, Genesis, RotateKey


class Authors:
    """The keys whose entries are taken; entries are added one by one, parents first, after voters have been told.

    An **account** is the key that what several keys say is put down to (surplus.py): what somebody goes on under, by
    whatever rotations, is put down to one.  It decides nothing that nodes must agree on.
    """

    def __init__(self, is_voters: Callable[[bytes], bool]) -> None:
        """is_voters: whether a key votes, or did, by all that was added; it must never take that back."""
        self._is_voters = is_voters
        self._accounts: dict[bytes, bytes] = {}  # by key
        self._papers = set[bytes]()
        self._let_in = Counter[bytes]()  # by account: how many have accounts of their own by its word
        self._unheard: dict[bytes, list[Entry]] = {}  # by author: what would let somebody in, if its author might

    def __contains__(self, key: bytes) -> bool:
        return key in self._accounts or self._is_voters(key)  # a seat can be given to whom only an observer let in

    def account_of(self, key: bytes) -> bytes | None:
        """Say what an author's entries are put down to; None if nobody let it in."""
        return self._accounts.get(key) or (key if self._is_voters(key) else None)

    def is_paper(self, key: bytes) -> bool:
        """Whether a voter, or a voter's paper, registered this key."""
        return key in self._papers

    def add(self, entry: Entry) -> None:
        """Take an entry that was admitted."""
        if entry.lets_in is not None and not self._hears(entry):
            self._unheard.setdefault(entry.author, []).append(entry)
        while heard := [author for author in self._unheard if self._is_voters(author) or author in self._papers]:
            for author in heard:
                for late in self._unheard.pop(author):
                    self._hears(late)

    def _hears(self, entry: Entry) -> bool:
        """Let somebody in, if the author may."""
        key, author = entry.lets_in, entry.author
        if key is None or not self._lets_in(entry):
            return False
        inviter = self._accounts.get(author, author)
        is_new = isinstance(entry.body, Genesis | Admit | Recovery) and author not in self._papers
        if isinstance(entry.body, Recovery):
            self._papers.add(key)
        if is_new and self._accounts.get(key) != key and self._let_in[inviter] <= MAX_INVITATIONS:
            self._let_in[inviter] += 1
            self._accounts[key] = key
        self._accounts.setdefault(key, inviter)
        return True

    def _lets_in(self, entry: Entry) -> bool:
        is_papers = entry.author in self._papers
        if isinstance(entry.body, RotateKey):
            return is_papers or entry.body.old == entry.author
        return self._is_voters(entry.author) or (is_papers and isinstance(entry.body, Recovery))

"""Checking an exported record with nothing but the file: bytes in, a verdict out.

It asks what a ledger asks of each entry, and of the note that the tree of the entries is the one that was signed.
Whether this is the community that is meant, only its id can tell, which has to be known from somewhere else.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mesh.core import crypto, notes
from mesh.core.entries import Entry, Genesis
from mesh.core.equivocation import Equivocation
from mesh.core.membership import Membership
from mesh.core.merkle import GrowingTree, root_of
from mesh.core.notes import MAX_NOTE_BYTES, Checkpoint, Note
from mesh.core.record import END_OF_ENTRIES, HEADER, MAX_LINE_BYTES, leaf_of
from mesh.core.roll import Roll
from mesh.errors import CryptoError, MalformedError, RecordRefusedError

MAX_ENTRIES: Final = 131_072  # of 300 bytes each: some 180 MiB while they are checked, which a board of 512 MB has
MAX_FILE_BYTES: Final = 64 * 1024 * 1024  # also where they are larger: what they cite takes twice its size
_AUTHOR: Final = slice(38, 70)  # of an entry: behind the array's head, the version, and the community


@dataclass(frozen=True)
class CheckedRecord:
    """What a record that holds turned out to be.

    history: the entries in their order; authors: how many keys signed them; signers: public keys that signed the note;
    equivocations: by author.
    """

    history: tuple[Entry, ...]
    authors: int
    membership: Membership
    checkpoint: Checkpoint
    signers: tuple[bytes, ...]
    equivocations: Mapping[bytes, Equivocation]

    def require_after(self, older: Checkpoint) -> None:
        """Check that this record goes on from a checkpoint that somebody kept.  Errors: RecordRefusedError."""
        if older.origin != notes.key_name(self.membership.community):
            raise RecordRefusedError("the older one is another community's, or holds what no decision had fixed")
        size = min(older.size, len(self.history))
        if (size, root_of([leaf_of(entry) for entry in self.history[:size]])) != (older.size, older.root):
            raise RecordRefusedError("it does not go on from the older one: one of the two rewrites the past")


class RecordCheck:
    """The check of one file, which is fed to it in pieces of any size.

    Errors, from `receive` and `finish`: RecordRefusedError, which names the entry at fault.
    """

    def __init__(self, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_FILE_BYTES) -> None:
        self._max_entries = max_entries
        self._room = max_bytes
        self._buffer = bytearray()
        self._line = self._take_header
        self._in_note = False
        self._entries: dict[bytes, Entry] = {}
        self._places: defaultdict[tuple[bytes, int], list[bytes]] = defaultdict(list)
        self._roll = Roll(self._entries)
        self._let_in = set[bytes]()
        self._tree = GrowingTree()

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the file, and check every entry they complete."""
        self._room -= len(data)
        if self._room < 0:
            raise self._refused("a file larger than any record")
        self._buffer += data
        start = 0
        while not self._in_note and (end := self._buffer.find(b"\n", start)) >= 0:
            line = bytes(self._buffer[start:end])
            start = end + 1
            self._line(line)
        del self._buffer[:start]
        if len(self._buffer) > (MAX_NOTE_BYTES if self._in_note else MAX_LINE_BYTES):
            raise self._refused("a line, or a note, longer than any")

    def finish(self) -> CheckedRecord:
        """Check the note, now that the file has ended, and say what the record is."""
        if not self._in_note:
            raise self._refused("the file ends before its checkpoint")
        membership = self._roll.membership()
        try:
            checkpoint, signers = self._check_note(membership)
        except (MalformedError, CryptoError) as error:
            raise RecordRefusedError(f"checkpoint: {error}") from error
        authors = {author for author, _ in self._places}
        proofs = self._roll.equivocations
        return CheckedRecord(tuple(self._entries.values()), len(authors), membership, checkpoint, signers, proofs)

    def _check_note(self, membership: Membership) -> tuple[Checkpoint, tuple[bytes, ...]]:
        """Compare the note with the entries.  Errors: MalformedError, CryptoError."""
        note = Note.parse(bytes(self._buffer))
        checkpoint, name = note.checkpoint, notes.key_name(membership.community)
        if (checkpoint.size, checkpoint.root) != (self._tree.size, self._tree.root()):
            raise MalformedError("the entries before it have another tree than the one that was signed")
        if checkpoint.origin not in (name, notes.snapshot_origin(membership.community, checkpoint.root)):
            raise MalformedError("it is another community's")
        signers = note.signers(self._let_in, name=name)
        if not any(crypto.raw_id(public) in membership.members for public in signers):
            raise MalformedError("nobody who signed it is a member")
        return checkpoint, signers

    def _take_header(self, line: bytes) -> None:
        if line != HEADER:
            raise RecordRefusedError("this is not the record of a community, or one of another version")
        self._line = self._take_entry

    def _take_entry(self, line: bytes) -> None:
        if line == END_OF_ENTRIES:
            if not self._entries:
                raise self._refused("there is none")
            self._in_note = True
            return
        if len(self._entries) == self._max_entries:
            raise self._refused(f"more than {self._max_entries} entries")
        raw = b""
        try:
            raw = notes.from_base64(line.decode("ascii", errors="replace"))
            entry = Entry.parse(raw)
            self._check_place(entry)
        except (MalformedError, CryptoError) as error:
            raise self._refused(str(error), raw) from error
        self._entries[entry.id] = entry
        twins = self._places[entry.author, entry.seq]
        self._roll.add(entry, twins=twins)
        twins.append(entry.id)
        self._tree.append(leaf_of(entry))
        if entry.lets_in is not None:
            self._let_in.add(entry.lets_in)

    def _check_place(self, entry: Entry) -> None:
        """Ask what a ledger asks.  Errors: MalformedError."""
        if isinstance(entry.body, Genesis) != (not self._entries):
            raise MalformedError("a record has one genesis, which stands first")
        if self._entries and entry.community != next(iter(self._entries)):
            raise MalformedError("it is an entry of another community")
        if entry.id in self._entries:
            raise MalformedError("it stands here twice")
        if any(parent not in self._entries for parent in entry.parents):
            raise MalformedError("an entry that it follows does not stand before it")
        if entry.prev is not None:
            prev = self._entries[entry.prev]
            if (prev.author, prev.seq) != (entry.author, entry.seq - 1):
                raise MalformedError("its predecessor is not its author's entry before")
        if self._entries and entry.author not in self._let_in:
            raise MalformedError("nobody before it let its author in")

    def _refused(self, what: str, raw: bytes = b"") -> RecordRefusedError:
        """Name the entry that is looked at now; `raw` is all that is known of it."""
        position = len(self._entries)
        author = raw[_AUTHOR]
        if len(author) < crypto.KEY_BYTES:
            return RecordRefusedError(f"entry {position}: {what}", position=position)
        entry_id = hashlib.sha256(raw[: -crypto.SIGNATURE_BYTES]).digest()
        named = f"{entry_id.hex()[:12]}, by {crypto.node_id(crypto.raw_id(author))[:8]}"
        return RecordRefusedError(
            f"entry {position} ({named}): {what}", position=position, entry_id=entry_id, author=author
        )

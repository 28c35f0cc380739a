"""A community's whole record as one file that anybody can check: docs/record.md has the format.

"hearthmesh/record/1" LF
base64 of an entry LF          for each entry, in the order of the tree, the genesis first
"checkpoint" LF
a signed note                  over the tree of these entries
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mesh.core import crypto, merkle, notes
from mesh.core.attestation import Attestation
from mesh.core.entries import MAX_ENTRY_BYTES, Entry
from mesh.core.notes import Checkpoint, Note, NoteSignature

HEADER: Final = b"hearthmesh/record/1"
END_OF_ENTRIES: Final = b"checkpoint"
MAX_LINE_BYTES: Final = 4 * -(-MAX_ENTRY_BYTES // 3)  # the base64 of the largest entry
_BATCH_ENTRIES: Final = 256


def leaf_of(entry: Entry) -> bytes:
    """Return the hash of an entry's leaf: of what its author signed, without the signature."""
    return merkle.leaf_hash(entry.raw[: -crypto.SIGNATURE_BYTES])


def snapshot_of(entries: Sequence[Entry]) -> Checkpoint:
    """Return the checkpoint of entries in the order of the tree, the genesis first, that nobody decided on."""
    root = merkle.root_of([leaf_of(entry) for entry in entries])
    return Checkpoint(notes.snapshot_origin(entries[0].community, root), len(entries), root)


def checkpoint_of(entries: Sequence[Entry]) -> Checkpoint:
    """Return the checkpoint of what the community decided on, in the order of the tree."""
    root = merkle.root_of([leaf_of(entry) for entry in entries])
    return Checkpoint(notes.key_name(entries[0].community), len(entries), root)


def note_of(checkpoint: Checkpoint, attestations: Iterable[Entry]) -> Note:
    """Return the note of what the community decided on, with those signatures in these entries that hold."""
    note = Note(checkpoint)
    for entry in attestations:
        if isinstance(entry.body, Attestation) and entry.body.is_for(checkpoint, by=entry.author):
            line = NoteSignature(checkpoint.origin, notes.key_id(checkpoint.origin, entry.author), entry.body.signature)
            note = note.with_signatures([line])
    return note


@dataclass(frozen=True)
class RecordFile:
    """Entries in the order of the tree, and the signed note over it."""

    entries: Sequence[Entry]
    note: Note

    @property
    def size_bytes(self) -> int:
        """How long the file is."""
        lines = sum(4 * -(-len(entry.raw) // 3) + 1 for entry in self.entries)
        return len(HEADER) + 1 + lines + len(END_OF_ENTRIES) + 1 + len(self.note.to_bytes())

    def pieces(self) -> Iterator[bytes]:
        """Write the file, a bounded piece at a time."""
        yield HEADER + b"\n"
        for start in range(0, len(self.entries), _BATCH_ENTRIES):
            batch = self.entries[start : start + _BATCH_ENTRIES]
            yield b"".join(base64.b64encode(entry.raw) + b"\n" for entry in batch)
        yield END_OF_ENTRIES + b"\n" + self.note.to_bytes()

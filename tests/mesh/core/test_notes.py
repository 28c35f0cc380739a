"""Notes are those of C2SP, written in one way, and signed by nobody but the keys they are checked against."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core import crypto, notes
from mesh.core.notes import Checkpoint, Note, NoteSignature
from mesh.errors import CryptoError, MalformedError
from tests.mesh.core.world import Person

ANNA, BEN, CLEO = Person("Anna"), Person("Ben"), Person("Cleo")
NAME = notes.key_name(bytes(32))
CHECKPOINT = Checkpoint(NAME, 7, hashlib.sha256(b"root").digest())
NOTE = Note(CHECKPOINT).signed(ANNA.seed, name=NAME)
KEYS = (ANNA.public, BEN.public)


def test_the_key_of_gos_documentation() -> None:
    """Key id and signature are as in the example of golang.org/x/mod/sumdb/note, the format's first home."""
    public = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]
    line = NoteSignature.parse(
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert line.key_id == notes.key_id("PeterNeumann", public) == bytes.fromhex("c74f20a3")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    crypto.verify_plainly(public, line.signature, text.encode())


def test_the_lines_of_a_checkpoint() -> None:
    """Origin, size, root; an empty line; signatures."""
    lines = NOTE.to_bytes().decode().split("\n")
    assert lines[:4] == [NAME, "7", base64.b64encode(CHECKPOINT.root).decode(), ""]
    assert lines[4].startswith(f"— {NAME} ")
    assert lines[5:] == [""]
    assert NAME == "hearthmesh/" + "a" * 52
    assert notes.snapshot_origin(bytes(32), bytes(32)) == f"{NAME}/{'a' * 52}"


def test_signatures_come_in_any_order() -> None:
    """Members who sign one checkpoint in turn, or separately, end with the same note."""
    one = NOTE.signed(BEN.seed, name=NAME)
    other = Note(CHECKPOINT).signed(BEN.seed, name=NAME).with_signatures(NOTE.signatures)
    assert one == other == one.with_signatures(one.signatures) == Note.parse(one.to_bytes())
    assert set(one.signers(KEYS, name=NAME)) == set(KEYS)


@given(st.data())
def test_no_byte_of_a_note_can_be_another(data: st.DataObject) -> None:
    """Each alteration breaks the form, a signature, or whose signature it is."""
    raw = bytearray(NOTE.signed(BEN.seed, name=NAME).to_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255).filter(lambda value: value != raw[at]))
    with pytest.raises((MalformedError, CryptoError)):
        Note.parse(bytes(raw)).signers(KEYS, name=NAME)


def test_a_signature_by_another_key_or_a_second_one_is_an_error() -> None:
    """Under another name, by a stranger, for another text, or twice."""
    with pytest.raises(CryptoError, match="1 of the note is not by a key"):
        NOTE.signers([BEN.public], name=NAME)
    with pytest.raises(CryptoError, match="is not by a key"):
        NOTE.signers(KEYS, name=NAME + "/x")
    with pytest.raises(CryptoError, match="does not hold"):
        Note(Checkpoint(NAME, 8, CHECKPOINT.root), NOTE.signatures).signers(KEYS, name=NAME)
    with pytest.raises(CryptoError, match="repeats"):
        Note(CHECKPOINT, NOTE.signatures * 2).signers(KEYS, name=NAME)


TEXT, SIGNED = NOTE.to_bytes().decode().split("\n\n")
ROOT = TEXT.split("\n")[2]
LINE = SIGNED[:-1]


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT + "\n",
        TEXT + "\n\n",
        TEXT + "\n\n" + LINE,
        TEXT + "\n\n" + LINE + "\n\n",
        TEXT + "\n\n" + (LINE + "\n") * 513,
        TEXT + "\nan extension\n\n" + SIGNED,
        f"\n7\n{ROOT}\n\n{SIGNED}",
        f"{'x' * 161}\n7\n{ROOT}\n\n{SIGNED}",
        f"bell\a\n7\n{ROOT}\n\n{SIGNED}",
        f"{NAME}\n07\n{ROOT}\n\n{SIGNED}",
        f"{NAME}\n\N{ARABIC-INDIC DIGIT SEVEN}\n{ROOT}\n\n{SIGNED}",
        f"{NAME}\n{'9' * 20}\n{ROOT}\n\n{SIGNED}",
        f"{NAME}\n7\n{ROOT[:-4]}\n\n{SIGNED}",
        f"{NAME}\n7\n{ROOT[:-2]}B=\n\n{SIGNED}",
        f"{NAME}\n7\nnö base64\n\n{SIGNED}",
        TEXT + "\n\n" + LINE.replace("—", "-") + "\n",
        TEXT + "\n\n" + LINE + " more\n",
        TEXT + "\n\n" + LINE.replace(NAME, "a+b") + "\n",
        TEXT + "\n\n" + LINE.replace(NAME, "") + "\n",
        TEXT + "\n\n" + LINE.replace(NAME, "tab\t") + "\n",
        "x" * (128 * 1024 + 1),
        "\udcff\n",
    ],
)
def test_what_is_no_note_is_refused(note: str) -> None:
    """Another form, other numbers, other base64, too much of anything, or no text at all."""
    with pytest.raises(MalformedError):
        Note.parse(note.encode(errors="surrogateescape"))

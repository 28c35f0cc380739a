"""A node is who it was, or says that it cannot tell."""

import stat
from pathlib import Path

import pytest

from mesh.core import codec
from mesh.errors import IdentityDamagedError, StorageError
from mesh.identity import Identity, fingerprint


def test_the_first_start_makes_an_identity_that_stays(tmp_path: Path) -> None:
    """The file is the owner's alone, and read back it is the same node."""
    path = tmp_path / "mesh" / "identity"
    first = Identity.open(path)
    assert Identity.open(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [*path.parent.iterdir()] == [path]
    first.statement.verify()
    assert (len(first.node_id), len(first.raw_id), len(first.public)) == (52, 32, 32)
    assert first.seed.hex() not in repr(first)


def test_two_nodes_are_two(tmp_path: Path) -> None:
    """Keys are random."""
    assert Identity.open(tmp_path / "one").node_id != Identity.open(tmp_path / "two").node_id


@pytest.mark.parametrize("place", [0, 5, 40, 80, 130])
def test_a_damaged_identity_is_refused_not_replaced(tmp_path: Path, place: int) -> None:
    """One flipped bit anywhere; the file is left as it is."""
    path = tmp_path / "identity"
    Identity.open(path)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(IdentityDamagedError):
        Identity.open(path)
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "data", [b"", b"text", bytes(2000), codec.encode([2, b"", b"", b""]), codec.encode([1, b"", b"", b""])]
)
def test_other_files_are_no_identity(tmp_path: Path, data: bytes) -> None:
    """Empty, foreign, too long, of another version, of other lengths."""
    path = tmp_path / "identity"
    path.write_bytes(data)
    with pytest.raises(IdentityDamagedError):
        Identity.open(path)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "mesh").write_text("in the way")
    with pytest.raises(StorageError, match="mesh"):
        Identity.open(tmp_path / "mesh" / "identity")


def test_fingerprints_are_read_aloud() -> None:
    """Five groups of four."""
    assert fingerprint("abcdefghijklmnopqrstuvwxyz") == "abcd efgh ijkl mnop qrst"

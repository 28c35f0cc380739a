"""Putting an identity aside: all of it, and whatever interrupts it."""

from pathlib import Path

import pytest

from mesh.errors import StorageError
from mesh.replacement import REQUEST, carry_out, request

FILES = {"identity": "keys", "community.db": "record", "tls/ca.key": "ca", "broker/access.list": "peers"}


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    """A node's directory."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def contents(directory: Path) -> dict[str, str]:
    """Read all files below a directory."""
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def test_nothing_happens_unasked(mesh: Path) -> None:
    """At every other start, and at the very first."""
    carry_out(mesh)
    carry_out(mesh / "absent")
    assert contents(mesh) == FILES


def test_everything_is_put_aside_at_the_next_start(mesh: Path) -> None:
    """Not before; once; and what was put aside earlier stays where it is."""
    assert request(mesh) == mesh / "replaced-1"
    assert {name for name in contents(mesh) if name != REQUEST} == set(FILES)
    carry_out(mesh)
    assert contents(mesh / "replaced-1") == FILES
    (mesh / "identity").write_text("new keys")
    carry_out(mesh)
    assert (mesh / "identity").read_text() == "new keys"
    assert request(mesh) == mesh / "replaced-2"
    carry_out(mesh)
    assert contents(mesh / "replaced-2") == {"identity": "new keys"}
    assert contents(mesh / "replaced-1") == FILES
    assert {path.name for path in mesh.iterdir()} == {"replaced-1", "replaced-2"}
    assert (mesh / "replaced-1").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("moved", range(5))
def test_a_power_cut_loses_nothing(mesh: Path, monkeypatch: pytest.MonkeyPatch, moved: int) -> None:
    """However much had been moved: the next start moves the rest to the same place."""
    request(mesh)
    rename, left = Path.rename, moved

    def until_the_cut(path: Path, target: Path) -> Path:
        nonlocal left
        if left == 0:
            raise OSError(5, "Input/output error")
        left -= 1
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", until_the_cut)
        if moved < len(FILES):
            with pytest.raises(StorageError, match="cannot be put aside"):
                carry_out(mesh)
            assert (mesh / REQUEST).exists()
    carry_out(mesh)
    assert contents(mesh) == {f"replaced-1/{name}": text for name, text in FILES.items()}


def test_a_damaged_request_still_finds_a_place(mesh: Path) -> None:
    """Nobody's path is believed."""
    (mesh / REQUEST).write_text("../../elsewhere")
    carry_out(mesh)
    assert contents(mesh / "replaced-1") == FILES


def test_a_directory_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """Asked for or not."""
    with pytest.raises(StorageError, match="cannot be written"):
        request(tmp_path / "absent")
    (tmp_path / REQUEST).mkdir()
    with pytest.raises(StorageError, match="cannot be read"):
        carry_out(tmp_path)

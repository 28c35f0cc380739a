"""What the repository promises of itself: locks, folders, documents, and nothing that does not belong in it."""

import importlib.metadata
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("run", "dev", "mutants")


def locked(name: str) -> dict[str, str]:
    """Package -> version of a lock."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ]+)", text, re.MULTILINE))


def tracked() -> Iterator[tuple[Path, str]]:
    """Every text file git tracks, with its content."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in (data := path.read_bytes()):
            yield path, data.decode()


@pytest.mark.parametrize("lock", LOCKS)
def test_the_hub_client_is_not_in_the_lock(lock: str) -> None:
    """Tokenizers would bring a client that talks to a hub; nothing here may."""
    assert "huggingface-hub" not in locked(lock)


def test_the_hub_client_is_not_installed() -> None:
    """Nor does it come in by another way."""
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.distribution("huggingface-hub")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_hashes(lock: str) -> None:
    """A line without a hash would be installed unchecked."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)
    assert [entry for entry in entries if entry.strip() and "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_holds_what_the_project_pins(lock: str) -> None:
    """A pin changed without `requirements/lock.sh` would not be what people get."""
    pins = dict(line.split("==") for line in PROJECT["project"]["dependencies"])
    assert pins.items() <= locked(lock).items()


def test_the_locks_agree() -> None:
    """What is tested is what is installed."""
    assert locked("run").items() <= locked("dev").items() <= locked("mutants").items()


def test_no_index_is_named() -> None:
    """Addresses come from pip; a host of a package index in the tree would be a dependency of its own."""
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org")
    assert [path.name for path, text in tracked() if any(host in text for host in hosts)] == []


def test_no_paths_of_somebodys_machine() -> None:
    """A path of one machine works on no other."""
    somewhere = re.compile(r"(?<![\w.])/(?:wor" + r"k|far" + r"m|roo" + r"t|hom" + r"e)/")
    assert [path.name for path, text in tracked() if somewhere.search(text)] == []


def test_every_link_of_the_documents_leads_somewhere() -> None:
    """A newcomer follows them first."""
    link = re.compile(r"\]\((?!https?:|#)([^)#]+)")
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path, text in tracked()
        if path.suffix == ".md"
        for target in link.findall(text)
        if not (path.parent / target).exists()
    ]
    assert broken == []


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    """A Python as fresh Debian has it: no ensurepip, so that venv cannot work."""
    (tmp_path / "ensurepip.py").write_text("raise ImportError('python3-venv is not installed')\n")
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}" exec python3 "$@"\n')
    python.chmod(0o755)
    return python


def test_without_python3_venv_the_one_command_is_printed(bare_python: Path, tmp_path: Path) -> None:
    """Where nothing may be installed, the person is told what to type."""
    done = subprocess.run(
        [ROOT / "requirements" / "python.sh", tmp_path / "venv", ROOT / "requirements" / "run.txt"],
        env={**os.environ, "PYTHON": str(bare_python), "APT": "no"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "sudo apt install python3-venv" in done.stderr) == (1, True)
    assert not (tmp_path / "venv").exists()


def test_a_python_too_old_is_said(tmp_path: Path) -> None:
    """The message names what is needed."""
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    python.chmod(0o755)
    done = subprocess.run(
        [ROOT / "requirements" / "python.sh", tmp_path / "venv", ROOT / "requirements" / "run.txt"],
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Python 3.9.2 is too old" in done.stderr) == (1, True)

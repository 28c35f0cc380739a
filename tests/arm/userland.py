"""Debian's Python for aarch64 and the wheels of the lock, unpacked without running any of it, and kept.

Needs apt-get, dpkg-deb and uv, no root and no emulator.  Debian's packages are checked against its archive key, wheels
against the lock's hashes; every package of the lock must have a wheel, for a board compiles nothing.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SUITE: Final = "trixie"
PYTHON: Final = "3.13"
GLIBC: Final = "2_36"  # of the oldest Debian with a Python that we support: what has a wheel there has one in SUITE too
PACKAGES: Final = (f"python{PYTHON}-minimal", f"libpython{PYTHON}-stdlib", "libstdc++6")
ARCHIVE_KEY: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LOCK: Final = Path(__file__).resolve().parents[2] / "requirements" / "run.txt"
_DEB: Final = re.compile(r"^'(?P<url>[^']+)' (?P<file>\S+) \d+ (?P<digest>\S+)$", re.MULTILINE)


class UserlandError(Exception):
    """The files of the emulated board cannot be had."""


@dataclass(frozen=True)
class Userland:
    """root: what stands for / on the board; wheels: a folder for sys.path."""

    root: Path
    wheels: Path

    @property
    def python(self) -> Path:
        """The interpreter, an aarch64 program."""
        return self.root / "usr" / "bin" / f"python{PYTHON}"


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where what was unpacked is kept for the next time."""
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hearth-tests" / "arm"


def prepare(cache: Path) -> Userland:
    """Unpack what the cache does not hold yet.  Raises UserlandError."""
    cache.mkdir(parents=True, exist_ok=True)
    return Userland(_debian(cache), _wheels(cache))


def packages_in(uris: str) -> list[str]:
    """Name the files in what `apt-get --print-uris` wrote, with their digests: the versions of all packages."""
    return sorted(f"{found['file']} {found['digest']}" for found in _DEB.finditer(uris))


def _debian(cache: Path) -> Path:
    """Unpack PACKAGES and what they need, in the versions that Debian has today."""
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        apt = _Apt(Path(folder))
        apt.run("update", "--error-on=any")
        packages = packages_in(apt.run("install", "--yes", "--print-uris", *PACKAGES))
        root = cache / f"{SUITE}-{_key(packages)}"
        if not root.is_dir():
            apt.run("install", "--yes", "--download-only", *PACKAGES)
            unpacked = Path(folder) / "root"
            (unpacked / "usr" / "lib").mkdir(parents=True)
            (unpacked / "lib").symlink_to("usr/lib")  # made by a package that is not needed otherwise
            for package in sorted(apt.archives.glob("*.deb")):
                _run("dpkg-deb", "--extract", str(package), str(unpacked))
            unpacked.rename(root)
            _forget_others(root)
    return root


class _Apt:
    """apt-get with a configuration of its own: aarch64 alone, nothing installed, this machine's settings untouched."""

    def __init__(self, folder: Path) -> None:
        if not ARCHIVE_KEY.exists():
            raise UserlandError(f"{ARCHIVE_KEY} is missing: sudo apt install debian-archive-keyring")
        self.archives = folder / "archives"
        for place in (self.archives / "partial", folder / "lists" / "partial"):
            place.mkdir(parents=True)
        (folder / "status").touch()
        sources = folder / "sources.list"
        sources.write_text(f"deb [signed-by={ARCHIVE_KEY}] http://deb.debian.org/debian {SUITE} main\n")
        settings = {
            "APT::Architecture": "arm64",
            "APT::Architectures": "arm64",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",  # the folder is nobody else's
            "Acquire::Languages": "none",
            "Dir::Cache": str(folder),
            "Dir::Cache::archives": str(self.archives),
            "Dir::Etc::sourcelist": str(sources),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State": str(folder),
            "Dir::State::lists": str(folder / "lists"),
            "Dir::State::status": str(folder / "status"),
        }
        self._configuration = folder / "apt.conf"
        self._configuration.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))

    def run(self, *arguments: str) -> str:
        """Run apt-get and return what it wrote.  Raises UserlandError."""
        return _run("apt-get", "--quiet=2", *arguments, environment={"APT_CONFIG": str(self._configuration)})


def _wheels(cache: Path) -> Path:
    """Unpack the lock's wheels for aarch64."""
    wheels = cache / f"wheels-{PYTHON}-{_key([GLIBC, LOCK.read_text()])}"
    if not wheels.is_dir():
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            unpacked = Path(folder) / "wheels"
            _run(
                *(sys.executable, "-m", "uv", "pip", "install", "--quiet"),
                *("--python-platform", f"aarch64-manylinux_{GLIBC}"),
                *("--python-version", PYTHON),
                *("--only-binary", ":all:"),
                *("--no-deps", "--require-hashes"),
                *("--target", str(unpacked)),
                *("--requirement", str(LOCK)),
            )
            unpacked.rename(wheels)
            _forget_others(wheels)
    return wheels


def _key(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _forget_others(kept: Path) -> None:
    """Delete what an earlier version of the same is."""
    stem = kept.name.rpartition("-")[0]
    for path in kept.parent.glob(f"{stem}-*"):
        if path != kept:
            shutil.rmtree(path)


def _run(*command: str, environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, **(environment or {})}
        )
    except FileNotFoundError as error:
        raise UserlandError(
            f"{command[0]} is missing: these files are Debian's, and unpacked with its tools"
        ) from error
    except subprocess.CalledProcessError as error:
        raise UserlandError(f"{' '.join(command[:3])} failed:\n{error.stderr.strip()}") from error
    return done.stdout

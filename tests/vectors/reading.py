"""Reading the committed files, as any other implementation would: nothing of the generator is used here."""

import json
from pathlib import Path
from typing import Any

from mesh.core import codec

FOLDER = Path(__file__).parent
Case = dict[str, Any]


def cases(name: str) -> list[Case]:
    """Return the valid cases of a file."""
    found: list[Case] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["cases"]
    return found


def invalid(name: str) -> list[Case]:
    """Return the cases of a file that must be refused."""
    found: list[Case] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["invalid"]
    return found


def title(case: Case) -> str:
    """Name a case in pytest's output."""
    return str(case.get("name") or case.get("reason"))


def data_of(case: Case) -> bytes:
    """Return the bytes of a case; `zeros` stands for so many more."""
    return bytes.fromhex(case["bytes"]) + bytes(case.get("zeros", 0))


def item_of(value: Any) -> codec.Item:  # noqa: ANN401  any JSON
    """Read an item as the files write it."""
    match value:
        case {"bytes": str(text)}:
            return bytes.fromhex(text)
        case {"int": str(text)}:
            return int(text)
        case list():
            return [item_of(child) for child in value]
    return value  # type: ignore[no-any-return]  # a number, text, truth value or null

"""What was altered, and the text in which people explain why nobody notices it."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Change:
    """A mutation, named so that it stays the same wherever in its module the function stands.

    function: its name within the module, `Tally.add` for instance, or `-` outside of any; removed, added: lines without
    the whitespace around them.
    """

    module: str
    function: str
    removed: tuple[str, ...]
    added: tuple[str, ...]

    @classmethod
    def between(cls, module: str, function: str, before: str, after: str) -> "Change":
        """Name the difference of two versions of a module."""
        lines = [*difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")][2:]
        removed = tuple(line[1:].strip() for line in lines if line.startswith("-"))
        added = tuple(line[1:].strip() for line in lines if line.startswith("+"))
        return cls(module, function, removed, added)

    def __str__(self) -> str:
        lines = [f"{self.module} {self.function}"]
        lines += [f"- {line}" for line in self.removed] + [f"+ {line}" for line in self.added]
        return "\n".join(lines)


def read(text: str) -> dict[Change, str]:
    """Read changes, each with its reason: blocks of `module function`, `- `, `+ ` and `= ` lines; `#` is a remark.

    Errors: ValueError, with the block that is none.
    """
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return dict(_read_block(block) for block in lines.split("\n\n") if block.strip())


def write(found: Iterable[Change], reasons: Mapping[Change, str]) -> str:
    """Write changes as they are read, those without a reason with a question mark."""
    return "\n".join(f"{change}\n= {reasons.get(change, '?')}\n" for change in found)


def _read_block(block: str) -> tuple[Change, str]:
    head, *lines = block.strip().splitlines()
    parts: dict[str, list[str]] = {"- ": [], "+ ": [], "= ": []}
    for line in lines:
        if line[:2] not in parts:
            raise ValueError(f"neither removed, added nor a reason: {line!r} in\n{block}")
        parts[line[:2]].append(line[2:].strip())
    module, _, function = head.partition(" ")
    if not function or not parts["= "]:
        raise ValueError(f"a module, a function and a reason are needed in\n{block}")
    return Change(module, function, tuple(parts["- "]), tuple(parts["+ "])), " ".join(parts["= "])

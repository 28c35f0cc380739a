"""Output a person can read at 80 columns, and a program with --json: tables, figures, errors.

Colour only on a terminal that wants it (https://no-color.org), never in a pipe.
"""

import os
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any, TextIO

BOLD, DIM, RED, AMBER = "1", "2", "31", "33"


def styled(text: str, style: str, stream: TextIO) -> str:
    """Wrap `text` in the style where the stream is a terminal that shows it."""
    wanted = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{style}m{text}\x1b[0m" if wanted and text else text


def print_json(value: object) -> None:
    """Print one object a line; dataclasses become objects."""
    import json  # noqa: PLC0415  `--help` has no use for it

    print(json.dumps(value, ensure_ascii=False, default=_plain), flush=True)


def _plain(value: Any) -> dict[str, Any]:  # noqa: ANN401  whatever JSON does not know
    import dataclasses  # noqa: PLC0415  as above

    return dataclasses.asdict(value)


def print_error(message: str, hint: str) -> None:
    """Say on stderr what happened and what to do next."""
    print(
        f"{styled('error:', RED, sys.stderr)} {message}\n{styled('hint:', AMBER, sys.stderr)} {hint}", file=sys.stderr
    )


def print_note(text: str) -> None:
    """Say something beside the result, on stderr."""
    print(styled(text, DIM, sys.stderr), file=sys.stderr)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns of equal width; on a terminal the last column is cut at its edge."""
    widths = [max(map(cells, column)) for column in zip(headers, *rows, strict=True)]
    room = columns() if sys.stdout.isatty() else 0
    for index, row in enumerate([headers, *rows]):
        line = "  ".join(text + " " * (width - cells(text)) for text, width in zip(row, widths, strict=True)).rstrip()
        if room and cells(line) > room:
            more = ellipsis(sys.stdout)
            line = clip(line, room - cells(more)).rstrip() + more
        print(styled(line, BOLD, sys.stdout) if index == 0 else line)


def columns() -> int:
    """Width of the terminal."""
    import shutil  # noqa: PLC0415  `--help` has no use for it

    return shutil.get_terminal_size().columns


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print `name  value` lines, values aligned."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        print(f"  {styled(name.ljust(width), DIM, sys.stdout)}  {value}")


def cells(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    return sum(_cells_of(character) for character in text)


def clip(text: str, room: int) -> str:
    """Cut `text` to at most `room` columns."""
    used = 0
    for index, character in enumerate(text):
        used += _cells_of(character)
        if used > room:
            return text[:index]
    return text


def _cells_of(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def dash(stream: TextIO) -> str:
    """A long dash where the stream can carry it."""
    return "—" if "utf" in (stream.encoding or "").lower() else "--"


def ellipsis(stream: TextIO) -> str:
    """What says that more follows, as the stream can carry it."""
    return "…" if "utf" in (stream.encoding or "").lower() else "..."


def confirmed(question: str) -> bool:
    """Ask at the terminal; only yes is yes."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")

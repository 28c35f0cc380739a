"""How figures are said to people, in the command and in the TUI alike."""

SHORT_ID_CHARACTERS = 8
_UNITS = ("B", "kB", "MB", "GB", "TB")
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def short_id(node_id: str) -> str:
    """The first characters of a node's id or a digest: enough to tell them apart and to type."""
    return node_id[:SHORT_ID_CHARACTERS]


def size(count: float) -> str:
    """A number of bytes in decimal units, three figures at most: `98.1 MB`."""
    for unit in _UNITS[:-1]:
        if abs(count) < 999.5:  # noqa: PLR2004  what rounds to 1000 belongs to the next unit
            return f"{count:.0f} {unit}" if unit in ("B", "kB") or count >= 99.95 else f"{count:.1f} {unit}"  # noqa: PLR2004  three figures
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"


def duration(seconds: float) -> str:
    """A span of time in its two largest units: `2 h 14 min`."""
    total = max(0, int(seconds))
    if total < _MINUTE_S:
        return f"{total} s"
    if total < _HOUR_S:
        return f"{total // _MINUTE_S} min"
    if total < _DAY_S:
        return f"{total // _HOUR_S} h {total % _HOUR_S // _MINUTE_S} min"
    return f"{total // _DAY_S} d {total % _DAY_S // _HOUR_S} h"


def count(number: int, one: str, many: str = "") -> str:
    """`1 member`, `3 members`."""
    return f"{number} {one if number == 1 else many or one + 's'}"

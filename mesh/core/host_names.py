"""The name of a node as a host on the local network: letters, digits and hyphens only (RFC 1123, 2.1)."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

DOMAIN: Final = "local"
FALLBACK: Final = "hearth"
MAX_CHARACTERS: Final = 40  # of 63, so that a number and what else stands in a record find room
TRIES: Final = 99

_OTHER: Final = re.compile(r"[^a-z0-9]+")


def host_label(node_name: str) -> str:
    """The first part of `<label>.local`: "Küche (unten)" is kuche-unten; what has no such letters is hearth."""
    letters = unicodedata.normalize("NFKD", node_name).encode("ascii", "ignore").decode().lower()
    return _OTHER.sub("-", letters)[:MAX_CHARACTERS].strip("-") or FALLBACK


def host_labels(node_name: str) -> Iterator[str]:
    """That label, and what stands in for it while other machines have it: ember, then ember-2, and so on."""
    label = host_label(node_name)
    yield label
    for number in range(2, TRIES + 1):
        yield f"{label}-{number}"

"""What the kernel says of a processor: which one it is, as far as packed weights depend on it, and what it can do.

Sources: arm64's elf_hwcaps and x86's cpufeatures in Linux.
"""

from collections.abc import Iterator
from typing import Final

# Of /proc/cpuinfo: what names the design and its instructions, on x86-64 and on ARM; never what changes by the minute.
IDENTITY: Final = frozenset(
    {"vendor_id", "cpu family", "model", "model name", "flags", "Features"}
    | {"CPU implementer", "CPU architecture", "CPU variant", "CPU part"}
)
FEATURES: Final = frozenset({"flags", "Features"})


def identity(cpuinfo: str) -> str:
    """Give the lines of /proc/cpuinfo that say which processor it is, each once and in order, whatever its cores."""
    return "\n".join(sorted({f"{name}: {' '.join(words)}" for name, words in _fields(cpuinfo) if name in IDENTITY}))


def features(cpuinfo: str) -> frozenset[str]:
    """Read the features that all processors of a /proc/cpuinfo have; none where it names none."""
    found = [frozenset(words) for name, words in _fields(cpuinfo) if name in FEATURES]
    return frozenset.intersection(*found) if found else frozenset()


def _fields(cpuinfo: str) -> Iterator[tuple[str, list[str]]]:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        yield name.strip(), value.split()

"""What a processor is, as far as packed weights depend on it."""

from typing import Final

# Of /proc/cpuinfo: what names the design and its instructions, on x86-64 and on ARM; never what changes by the minute.
IDENTITY: Final = frozenset(
    {"vendor_id", "cpu family", "model", "model name", "flags", "Features"}
    | {"CPU implementer", "CPU architecture", "CPU variant", "CPU part"}
)


def identity(cpuinfo: str) -> str:
    """Give the lines of /proc/cpuinfo that say which processor it is, each once and in order, whatever its cores."""
    lines = {
        f"{name.strip()}: {' '.join(value.split())}"
        for name, _, value in (line.partition(":") for line in cpuinfo.splitlines())
        if name.strip() in IDENTITY
    }
    return "\n".join(sorted(lines))

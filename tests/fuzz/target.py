"""What is fuzzed, and how bytes are varied where no coverage guides it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parent / "corpus"
MAX_BYTES: Final = 64 * 1024
INTERESTING: Final = (
    0,
    1,
    0x16,
    0x17,
    0x18,
    0x1B,
    0x40,
    0x5B,
    0x60,
    0x7F,
    0x80,
    0x9B,
    0xA0,
    0xC0,
    0xE0,
    0xF4,
    0xF5,
    0xF6,
    0xFF,
)


@dataclass(frozen=True)
class Target:
    """One parser: its entry point, and sound input to begin with."""

    parse: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]

    @property
    def room(self) -> str:
        """The module it stands in."""
        return self.parse.__module__

    @property
    def name(self) -> str:
        """What it is called on the command line and in the corpus."""
        return self.parse.__name__.removeprefix("parse_").replace("_", "-")

    def corpus(self) -> list[bytes]:
        """Return the seeds, and what was once found to be wrong."""
        found = [path.read_bytes() for path in sorted((CORPUS / self.name).glob("*"))]
        return [b"", *self.seeds(), *found]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Vary bytes a few times: flip, overwrite, insert, cut out, repeat, cut short."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(changed))
        end = min(len(changed), at + chance.choice((1, 2, 4, 8, 40)))
        match chance.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(changed):
                changed[at] = chance.choice(INTERESTING)
            case 2:
                changed[at:at] = chance.randbytes(chance.choice((1, 2, 8)))
            case 3:
                del changed[at:end]
            case 4:
                changed[at:at] = changed[at:end] * chance.choice((1, 2, 50))
            case _:
                del changed[at:]
    return bytes(changed[:MAX_BYTES])

"""The process that reads what a GGUF file says of its model: `python -m models.card_worker FILE`.

It prints one canonical JSON object, {"known": fields of a card} or {"error": class, "args": [what it says]}.  A
process of its own, confined as an engine's is, because the file may be hostile and its reader needs numpy, which the
daemon never loads.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from math import prod
from pathlib import Path

from models.card_import import from_gguf
from models.core import canonical_json
from models.errors import ModelsError
from models.gguf import GgufFile
from models.worker import confine


def main(argv: Sequence[str]) -> int:
    """Read the file and print the object; return the exit code."""
    sys.stdout.buffer.write(canonical_json.dumps(said_by(Path(argv[0]))))
    return 0


def said_by(path: Path) -> dict[str, object]:
    """Return the object to print."""
    try:
        with GgufFile.open(path) as file:
            weights = Counter[str]()
            for tensor in file.tensors.values():
                weights[tensor.type.name] += prod(tensor.shape)
            return {"known": from_gguf(file.metadata, weights)}
    except ModelsError as error:
        return {"error": error.code, "args": [str(error)]}


if __name__ == "__main__":
    confine()
    sys.exit(main(sys.argv[1:]))

"""Write the vectors anew: python -m tests.vectors.generate.  The same bytes each time."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.vectors import (
    of_contributions,
    of_doors,
    of_keys,
    of_ledger,
    of_links,
    of_models,
    of_questions,
    of_releases,
    of_routing,
    of_sharing,
)
from tests.vectors.family import Family

FOLDER: Final = Path(__file__).parent
FAMILIES: Final[Mapping[str, Callable[[], Family]]] = {
    "codec": of_keys.encoding,
    "identity": of_keys.identities,
    "signatures": of_keys.signatures,
    "seals": of_keys.seals,
    "entries": of_ledger.entries,
    "membership": of_ledger.memberships,
    "epoch-keys": of_ledger.epoch_keys,
    "exchange": of_ledger.exchange,
    "door": of_doors.door,
    "pairing-keys": of_doors.pairing_keys,
    "pairing": of_doors.pairing,
    "enrolment": of_doors.enrolment,
    "frames": of_links.frames,
    "envelopes": of_links.envelopes,
    "sessions": of_links.sessions,
    "announcements": of_routing.announcements,
    "adverts": of_routing.adverts,
    "routes": of_routing.routes,
    "acknowledgements": of_routing.acknowledgements,
    "questions": of_questions.questions,
    "contributions": of_contributions.contributions,
    "sharing": of_sharing.sharing,
    "hash-trees": of_models.hash_trees,
    "releases": of_releases.releases,
}


def text_of(family: Family) -> str:
    """Write one file's content."""
    return json.dumps(family, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every file."""
    for name, make in FAMILIES.items():
        (FOLDER / f"{name}.json").write_text(text_of(make()), encoding="utf-8")
        sys.stdout.write(f"{name}.json\n")


if __name__ == "__main__":
    main()

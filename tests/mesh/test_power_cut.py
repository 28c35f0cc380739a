"""Kill -9 in the midst of writing: whatever was told to others is on the disk, and nothing there is half."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from mesh.community import CommunityStore
from mesh.core.entries import Admit
from mesh.core.membership import OBSERVER
from mesh.identity import Identity
from tests.mesh.core.world import Person

ROUNDS = 12
LONGEST_S = 0.12  # some tens of entries

# Signs without end, and tells of each entry as a node does: once `sign` has returned.
SIGNER = """
import sys
from pathlib import Path
from mesh.community import CommunityStore
from mesh.core.entries import Admit
from mesh.core.membership import OBSERVER
from mesh.identity import Identity
from tests.mesh.core.world import Person

directory, number = Path(sys.argv[1]), int(sys.argv[2])
store = CommunityStore(directory / "community.db", Identity.open(directory / "identity"))
if store.ledger is None:
    store.found("Harbour", "Anna")
print("boot", store.next_boot(), flush=True)
while True:
    person = Person(f"guest {number}")
    entry = store.sign(Admit(person.statement, person.name, OBSERVER))
    print("seq", entry.seq, entry.id.hex(), flush=True)
    number += 1
"""


def test_a_power_cut_in_a_write_loses_nothing_that_was_told(tmp_path: Path) -> None:
    """No seq is signed twice, no boot counted twice, every entry told is there, and the next one can be signed."""
    chance = random.Random()  # noqa: S311  moments, no secrets
    told: dict[int, str] = {}
    boots: list[int] = []
    for round_number in range(ROUNDS):
        command = [sys.executable, "-c", SIGNER, str(tmp_path), str(1000 * round_number)]
        signer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert signer.stdout is not None
        lines = [signer.stdout.readline()]
        try:
            signer.wait(chance.uniform(0.0, LONGEST_S))
        except subprocess.TimeoutExpired:
            os.kill(signer.pid, signal.SIGKILL)
        rest, _ = signer.communicate()
        for line in "".join([*lines, rest]).splitlines(keepends=True):
            if line.endswith("\n"):
                kind, number, *more = line.split()
                if kind == "boot":
                    boots.append(int(number))
                else:
                    assert told.setdefault(int(number), more[0]) == more[0]
    assert signer.returncode == -signal.SIGKILL
    assert len(boots) == len(set(boots)) == ROUNDS
    store = CommunityStore(tmp_path / "community.db", Identity.open(tmp_path / "identity"))
    try:
        assert store.ledger is not None
        there = {entry.seq: entry.id.hex() for entry in store.ledger.entries}
        assert {seq: there.get(seq) for seq in told} == told
        last = Person("the last")
        assert store.sign(Admit(last.statement, last.name, OBSERVER)).seq == max(there) + 1
        assert store.next_boot() > max(boots)
    finally:
        store.close()

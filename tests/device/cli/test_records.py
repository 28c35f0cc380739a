"""The record as a file: written by the daemon's word, checked without it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.core.ballots import MAKE_OBSERVER
from mesh.core.entries import Place, Remove
from mesh.core.ledger import Ledger
from mesh.core.record import checkpoint_of
from mesh.core.tree_order import fixed, in_order
from tests.device.cli.conftest import Hearth
from tests.mesh.core.council import decided, refreshed, voters
from tests.mesh.core.test_record import ANNA, BEN, CLEO, exported, of_entries, small, written
from tests.mesh.core.world import Person, copy_of
from tests.sim.daemon import SimulatedDaemon


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A community of two that has signed three entries."""
    path = tmp_path / "harbour.record"
    path.write_bytes(written(exported(small(), ANNA, BEN)))
    return path


def test_the_record_is_written(hearth: Hearth, daemon: SimulatedDaemon, tmp_path: Path) -> None:
    """To a new file only, and with how to check it."""
    target = tmp_path / "mine.record"
    done = hearth("record", str(target))
    assert (done.code, target.read_bytes()) == (0, daemon.record)
    assert f"hearth verify {target}\n" in done.out
    again = hearth("record", str(target))
    assert (again.code, "is there already" in again.err) == (1, True)
    target.unlink()
    told = json.loads(hearth("record", str(target), "--json", "--fixed").out)
    assert told == {"file": str(target), "size_bytes": len(daemon.record)}


def test_a_record_that_holds(hearth: Hearth, record: Path) -> None:
    """What was checked, who the members are and which of them signed; nobody has to be running."""
    done = hearth("verify", str(record))
    assert (done.code, max(map(len, done.out.splitlines())) <= 80) == (0, True)
    assert done.out.startswith("The record holds: 3 entries by 2 authors")
    assert f"{ANNA.statement.node_id[:8]}  Anna    voter     signed the tree\n" in done.out
    assert f"{BEN.statement.node_id[:8]}  Ben     observer  signed the tree\n" in done.out
    assert "Compare" in done.err
    told = json.loads(hearth("verify", str(record), "--json").out)
    assert (told["valid"], told["name"], told["entries"], told["authors"]) == (True, "Harbour", 3, 2)
    assert told["origin"].startswith(f"hearthmesh/{told['community']}/")
    assert [(one["name"], one["role"], one["signed"]) for one in told["members"]] == [
        ("Anna", "voter", True),
        ("Ben", "observer", True),
    ]
    assert (told["other_signers"], told["forks"], len(bytes.fromhex(told["root"]))) == ([], [], 32)
    assert len(bytes.fromhex(told["state"])) == 32


def test_forks_and_former_members_are_told(hearth: Hearth, tmp_path: Path) -> None:
    """They are no fault of the record's: it holds, and says which key did what."""
    ledger = small()
    rival = BEN.signs(ledger, Remove(CLEO.public, "another"), place=Place(0, None, (ledger.entries[1].id,)))
    BEN.removes(ledger, BEN)
    path = tmp_path / "forked.record"
    path.write_bytes(written(exported(ledger, ANNA, BEN)))
    done = hearth("verify", str(path))
    assert done.code == 0
    assert f"{BEN.statement.node_id[:8]} signed the tree too, and is no member now.\n" in done.out
    assert f"fork: {BEN.statement.node_id[:8]} signed two entries for place 0: " in done.out
    assert rival.id.hex()[:12] in done.out
    [fork] = json.loads(hearth("verify", str(path), "--json").out)["forks"]
    assert (fork["node_id"], fork["seq"], rival.id.hex() in fork["entries"]) == (BEN.statement.node_id, 0, True)


def test_an_altered_record_is_refused_and_the_entry_named(hearth: Hearth, record: Path) -> None:
    """By its number, id and author; for programs too, and with nothing on stdout for people."""
    data = bytearray(record.read_bytes())
    data[data.index(b"\n", 500) + 200] ^= 1
    record.write_bytes(data)
    done = hearth("verify", str(record))
    assert (done.code, done.out) == (1, "")
    assert f"error: {record}: entry 2 (" in done.err
    assert f", by {BEN.statement.node_id[:8]}): " in done.err
    assert "hint: do not rely on this file" in done.err
    told = json.loads(hearth("verify", str(record), "--json").out)
    assert (told["valid"], told["position"], told["author"]) == (False, 2, BEN.statement.node_id)
    assert told["reason"].startswith(f"entry 2 ({told['entry'][:12]}, by ")


@pytest.mark.parametrize("content", [b"", b"hearthmesh/record/1\n", b"\x7fELF" + bytes(1_000_000), b"\xff\n" * 9])
def test_another_file_is_no_record(hearth: Hearth, tmp_path: Path, content: bytes) -> None:
    """An error and a hint, whatever is in it."""
    path = tmp_path / "other"
    path.write_bytes(content)
    done = hearth("verify", str(path))
    assert (done.code, done.out, done.err.count("error: "), "hint: " in done.err) == (1, "", 1, True)
    assert json.loads(hearth("verify", str(path), "--json").out)["valid"] is False


def test_wrong_usage_and_files_that_are_not_there(hearth: Hearth, tmp_path: Path) -> None:
    """2 for the one, 1 for the other."""
    assert hearth("verify").code == 2
    assert hearth("record").code == 2
    gone = hearth("verify", str(tmp_path / "gone"))
    assert (gone.code, "gone" in gone.err) == (1, True)
    assert hearth("verify", str(tmp_path)).code == 1


def test_verifying_needs_no_home(record: Path, tmp_path: Path) -> None:
    """No data directory is looked for or made, and no socket opened."""
    command = [str(Path(sys.executable).with_name("hearth")), "verify", str(record), "--json"]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "nowhere")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["valid"] is True
    assert [path.name for path in tmp_path.iterdir()] == [record.name]


def test_a_record_goes_on_from_an_older_one(hearth: Hearth, tmp_path: Path) -> None:
    """Or not: of another history, another community, or where the older one held what no decision had fixed."""
    ledger = voters(ANNA.founds(), ANNA, BEN)
    elsewhere = copy_of(ledger)

    def keep(name: str, of: Ledger, signer: Person = ANNA) -> str:
        entries = fixed(of.entries, of.membership().decided)
        path = tmp_path / name
        path.write_bytes(written(of_entries(entries, signer, checkpoint=checkpoint_of(entries))))
        return str(path)

    older = keep("older", ledger)
    refreshed(ledger, [ANNA, BEN])
    decided(elsewhere, [ANNA, BEN], MAKE_OBSERVER, BEN)
    newer, other = keep("newer", ledger), keep("other", elsewhere)
    whole = tmp_path / "whole"
    whole.write_bytes(written(of_entries(in_order(ledger.entries, ledger.membership().decided))))
    for file in (newer, other, str(whole)):
        done = hearth("verify", file, "--after", older)
        assert (done.code, f"goes on from {older}" in done.out) == (0, True)
    for file, before, why in (
        (older, newer, "does not go on"),
        (newer, other, "does not go on"),
        (newer, str(whole), "no decision had fixed"),
        (newer, keep("foreign", CLEO.founds(), CLEO), "another community's"),
    ):
        done = hearth("verify", file, "--after", before)
        assert (done.code, why in " ".join(done.err.split())) == (1, True)

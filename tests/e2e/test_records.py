"""A community's record, written by one hearth, is checked where nothing of Hearthmesh is installed."""

import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.e2e.hearths import Hearth

VERIFIER = Path(__file__).resolve().parents[2] / "docs" / "verifier" / "verify_record.py"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hearth, Path]]:
    """A hearth, and the record of the community in which it has let another one."""
    folder = tmp_path_factory.mktemp("records")
    with Hearth(folder / "ember", name="ember") as ember, Hearth(folder / "spark", name="spark") as spark:
        spark.run("join", *ember.json("pair")["words"].split())
        ember.run("record", str(folder / "harbour.record"))
        yield ember, folder / "harbour.record"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python in an environment that holds the verifier's one dependency and what that needs itself."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"cryptography=={version('cryptography')}"], check=True)
    return folder / "bin" / "python"


def test_the_record_is_checked_without_hearthmesh(record: tuple[Hearth, Path], python: Path) -> None:
    """And by `hearth verify`: both take it as it is, and name the entry once a byte of it is another."""
    ember, path = record
    done = subprocess.run([python, str(VERIFIER), str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("The record holds: 2 entries by 1 author")
    community = ember.json("status")["community"]["id"]
    assert community in done.stdout
    told = ember.json("verify", str(path))
    assert (told["valid"], told["community"], len(told["members"])) == (True, community, 2)
    data = bytearray(path.read_bytes())
    place = data.index(b"\n", 100) + 100
    data[place] = ord("B" if data[place] != ord("B") else "C")  # still base64
    altered = path.with_name("altered.record")
    altered.write_bytes(data)
    theirs = subprocess.run([python, str(VERIFIER), str(altered)], capture_output=True, text=True, check=False)
    assert (theirs.returncode, theirs.stdout) == (1, "")
    assert theirs.stderr.startswith("refused: entry 1 (")
    ours = ember.run("verify", str(altered), check=False)
    assert (ours.returncode, "entry 1 (" in ours.stderr) == (1, True)


def test_the_verifier_imports_nothing_of_ours(python: Path) -> None:
    """There is nothing to import it from; and it says how it is used."""
    imports = [
        str(python),
        "-c",
        "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ('mesh', 'device'))))",
    ]
    subprocess.run(imports, cwd=python.parent, check=True)
    usage = subprocess.run([python, str(VERIFIER)], capture_output=True, text=True, check=False)
    assert (usage.returncode, "FILE" in usage.stderr) == (2, True)
    assert sys.executable != str(python)

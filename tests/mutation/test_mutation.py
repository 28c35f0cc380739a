"""The mutation tester itself: how changes are named, and that a mutant is noticed or not.  No mutmut is needed here."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.change import Change, read, write
from tests.mutation.subjects import SUBJECTS, TESTS, TOO_SLOW

ROOT = Path(__file__).resolve().parents[2]
EXPLAINED = read(Path(__file__).with_name("survivors.txt").read_text())

CODE = "def twice(n):\n    return n + n\n"


def test_a_change_is_named_the_same_wherever_its_function_stands() -> None:
    """Lines above it, and how far it is indented, make no difference."""
    one = Change.between("sums", "twice", CODE, CODE.replace("+", "-"))
    moved = "import this\n\n\n" + CODE.replace("    ", "\t")
    assert Change.between("sums", "twice", moved, moved.replace("+", "-")) == one
    assert str(one) == "sums twice\n- return n + n\n+ return n - n"


def test_changes_and_their_reasons_are_read_as_they_are_written() -> None:
    """Several, of several lines, without whatever is a remark."""
    found = {Change("sums", "twice", ("a", "b"), ("c",)): "so it is", Change("sums", "-", ("d",), ()): "that too"}
    assert read("# a remark\n\n" + write(found, found)) == found


@pytest.mark.parametrize("text", ["sums\n- a\n= why", "sums twice\n- a\n+ b", "sums twice\n- a\n* b\n= why"])
def test_what_has_no_function_or_no_reason_explains_nothing(text: str) -> None:
    """And says which it is."""
    with pytest.raises(ValueError, match="a"):
        read(text)


def test_every_survivor_that_is_explained_is_of_code_that_is_there() -> None:
    """An explanation of lines that have changed explains nothing any more."""
    for change, reason in EXPLAINED.items():
        lines = {line.strip() for line in (ROOT / f"mesh/core/{change.module}.py").read_text().splitlines()}
        assert {*change.removed} <= lines, change
        assert reason.strip("? "), change


def test_the_tests_that_are_named_are_there() -> None:
    """A test under another name would be run in vain, or not left out."""
    for name in {name for names in SUBJECTS.values() for name in names}:
        assert (ROOT / TESTS / f"{name}.py").is_file()
    for name in TOO_SLOW:
        file, _, test = name.partition("::")
        assert f"def {test.partition('[')[0]}(" in (ROOT / TESTS / file).read_text()


TRIAL = """
import sys
from pathlib import Path
from tests.mutation import trial

path = Path("mesh/core/equivocation.py")
code = path.read_text().replace(*sys.argv[1:3])
trial.load()
tests, log = ["tests/mesh/core/test_equivocation.py"], Path(sys.argv[3])
outcome = trial.run("mesh.core.equivocation", path, code, tests=tests, log=log, cpu_s=float(sys.argv[4]))
print(outcome.noticed)
"""


@pytest.mark.parametrize(
    ("before", "after", "noticed", "cpu_s"),
    [
        ("nothing", "nothing", False, 60),
        ("known.seq < entry.seq", "known.seq > entry.seq", True, 60),
        ("    one, two", "    while True:\n        pass\n    one, two", True, 1),
    ],
)
def test_a_mutant_is_noticed_where_a_test_fails_or_never_ends(
    tmp_path: Path, before: str, after: str, cpu_s: int, *, noticed: bool
) -> None:
    """The module as it is passes; nothing of it is written anywhere."""
    source = (ROOT / "mesh/core/equivocation.py").read_bytes()
    command = [sys.executable, "-c", TRIAL, before, after, str(tmp_path / "log"), str(cpu_s)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == f"{noticed}\n"
    assert (ROOT / "mesh/core/equivocation.py").read_bytes() == source

"""The files are what the generator writes, and nothing else lies among them."""

import pytest

from tests.vectors.generate import FAMILIES, text_of
from tests.vectors.reading import FOLDER, cases, invalid


@pytest.mark.parametrize("name", FAMILIES)
def test_the_generator_writes_the_committed_bytes(name: str) -> None:
    """On every machine, each time: a difference is a change of the protocol, or of what is said about it."""
    assert text_of(FAMILIES[name]()) == (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def test_each_file_has_its_family() -> None:
    """None is left over from another version."""
    assert {path.stem for path in FOLDER.glob("*.json")} == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_two_cases_share_a_name(name: str) -> None:
    """A failing case can be found by its name."""
    names = [case["name"] for case in cases(name)]
    assert len(names) == len(set(names)) > 0
    assert all(case["reason"] for case in invalid(name))

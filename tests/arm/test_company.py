"""What is said of the company that a token may have."""

from dataclasses import replace

from tests.arm.company import Company

FOUND = Company(form="int8", blocks=[4, 4, 4], side_by_side=3)


def test_whether_guesses_are_used_is_said() -> None:
    """In words, beside how sequences bear each other."""
    beside = "3 of 3 tokens are the same beside another sequence"
    assert str(FOUND) == f"int8 form: guesses end before a block; {beside}"
    assert str(replace(FOUND, blocks=[1, 1, 1])) == f"int8 form: guesses are used; {beside}"
    assert str(replace(FOUND, blocks=[0, 0, 0])) == f"int8 form: no guesses are used; {beside}"


def test_an_answer_that_depends_on_the_place_is_no_answer() -> None:
    """All of it is shown."""
    assert "but elsewhere it is found otherwise: [1, 4, 1]" in str(replace(FOUND, blocks=[1, 4, 1]))

"""Errors cross a pipe as themselves."""

import pytest

from models import errors
from models.errors import ModelsError, NotEnoughMemoryError, NotEnoughSpaceError, PromptTooLongError, rebuild

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ModelsError)]
TWO_NUMBERS = [
    PromptTooLongError(9, 8),
    NotEnoughSpaceError(2_000_000, 1_000_000, "/data"),
    NotEnoughMemoryError(2_000_000, 1_000_000, 2048, 512),
]
EVERY = [cls("what happened") for cls in CLASSES if cls not in {type(error) for error in TWO_NUMBERS}] + TWO_NUMBERS


@pytest.mark.parametrize("error", EVERY, ids=lambda error: error.code)
def test_an_error_is_rebuilt_as_itself(error: ModelsError) -> None:
    """Class, words and hint survive; every class says what to do next."""
    again = rebuild(error.code, error.args)
    assert type(error) is type(again)
    assert str(error) == str(again)
    assert error.hint == again.hint
    assert error.hint


@pytest.mark.parametrize(("code", "args"), [("SystemExit", ("bye",)), ("PromptTooLongError", ("one",))])
def test_what_fits_no_class_is_still_an_error_with_its_words(code: str, args: tuple[str, ...]) -> None:
    """A worker of another version, or a lying one, gets no class of its choice."""
    again = rebuild(code, args)
    assert type(again) is ModelsError
    assert str(again) == f"{code}: {args[0]}"


def test_both_numbers_are_named() -> None:
    """What was needed and what there is."""
    assert str(PromptTooLongError(9, 8)) == "the prompt has 9 tokens, the context holds 8"
    assert str(NotEnoughSpaceError(2_000_000, 1_000_000, "/data")) == "/data has 1 MB free, 2 MB are needed"

"""Stop strings never leak, wherever the stream cuts them."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from models.core.stops import StopScanner

TEXT = st.text(alphabet="ab<|>", max_size=40)
STOPS = st.lists(st.text(alphabet="ab<|>", min_size=1, max_size=4), max_size=4).map(tuple)


def _expected(text: str, stops: tuple[str, ...]) -> str:
    """Cut the text before the stop string that is completed first."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)]
    return text


def _scan(pieces: list[str], stops: tuple[str, ...]) -> tuple[list[str], bool]:
    scanner = StopScanner(stops)
    return [*(scanner.feed(piece) for piece in pieces), scanner.finish()], scanner.stopped


@settings(deadline=None)
@given(TEXT, STOPS, st.lists(st.integers(0, 40), max_size=10))
def test_any_slicing_gives_the_same_answer(text: str, stops: tuple[str, ...], cuts: list[int]) -> None:
    """The text ends before the first completed stop string, however the stream was cut."""
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(edges)]
    out, stopped = _scan(pieces, stops)
    assert _expected(text, stops) == "".join(out)
    assert any(stop in text for stop in stops) == stopped


def test_text_that_cannot_become_a_stop_is_not_held() -> None:
    """Streaming waits only for what may be a stop string's beginning."""
    scanner = StopScanner(("END",))
    assert scanner.feed("some E") == "some "
    assert scanner.feed("N") == ""
    assert scanner.feed("X and more") == "ENX and more"
    assert scanner.feed("EN") == ""
    assert scanner.finish() == "EN"


def test_nothing_comes_after_a_stop() -> None:
    """Pieces fed after the stop are swallowed."""
    scanner = StopScanner(("\n\n",))
    assert scanner.feed("answer\n") == "answer"
    assert scanner.feed("\nmore") == ""
    assert scanner.feed("even more") == ""
    assert scanner.finish() == ""
    assert scanner.stopped

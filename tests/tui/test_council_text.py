"""What the community decides, in few words."""

from dataclasses import replace

import pytest
from textual.content import Content

from device.api_of_council import Begun
from device.client import Council
from device.parsing import parse
from tests.sim.scripts import COUNCIL
from tui.council_text import MAX_NAMED, NAME_CELLS, begun_anew, going_along, heading, progress, some
from tui.glyphs import PLAIN, RICH, Glyphs

ANNA_S = parse(Council, COUNCIL)
MANY = tuple(f"voter {number}" for number in range(100))


@pytest.mark.parametrize("glyphs", [RICH, PLAIN])
def test_names_are_cut_with_a_sign(glyphs: Glyphs) -> None:
    """By cells, so that no double-width name takes more than its room."""
    (wide,) = some(["界" * 64], glyphs)
    assert wide.endswith(glyphs.ellipsis)
    assert Content(wide).cell_length in (NAME_CELLS - 1, NAME_CELLS)
    assert some(["x" * NAME_CELLS], glyphs) == ("x" * NAME_CELLS,)


def test_of_many_names_some_are_said() -> None:
    """And how many there are besides."""
    assert some(MANY, RICH) == ("voter 0", "voter 1", "voter 2", "97 others")
    assert some(MANY[: MAX_NAMED + 1], RICH)[-1] == "1 other"
    assert some(MANY[:MAX_NAMED], RICH) == MANY[:MAX_NAMED]


def test_a_hundred_voters_are_waited_for_in_a_line() -> None:
    """Whatever they are called."""
    (motion,) = ANNA_S.motions
    said = progress(replace(motion, waiting=MANY), replace(ANNA_S, quorum=67), RICH)
    assert said == "1 of 67 agree, waiting for voter 0 and voter 1 and voter 2 and 97 others"
    wide = progress(replace(motion, waiting=("界" * 64,) * 100), ANNA_S, RICH)
    assert Content(wide).cell_length < 2 * 76


def test_what_is_said_of_a_hundred_voters_is_short() -> None:
    """Who signed, who signed something else, and who began anew."""
    signed = replace(ANNA_S, fixed=replace(ANNA_S.fixed, signed=MANY))
    assert "signed by voter 0, voter 1, voter 2, 97 others" in heading(signed, RICH).plain
    disputed = replace(ANNA_S, fixed=replace(ANNA_S.fixed, disputed=MANY))
    assert "voter 0, voter 1, voter 2, 97 others signed another record" in heading(disputed, RICH).plain
    begun = replace(ANNA_S, begun=tuple(Begun(id=f"{n:08}", by=MANY[n], members=()) for n in range(20)))
    assert "Begun anew by voter 0, voter 1, voter 2, 17 others" in heading(begun, RICH).plain


def test_going_along_is_asked_in_few_words() -> None:
    """Whatever they are called, the question fits the screen, and what stands in a list its line."""
    hostile = Begun(id="b7" * 32, by="界" * 64, members=("[b]界" * 20,) * 100)
    assert Content(going_along(hostile, ANNA_S, RICH)).cell_length < 5 * 60
    assert "97 others" in going_along(hostile, ANNA_S, RICH)
    assert Content(begun_anew(hostile, RICH)).cell_length < 60


def test_no_name_is_markup() -> None:
    """Brackets stand as they came."""
    named = replace(ANNA_S, community="[red]x[/]", fixed=replace(ANNA_S.fixed, signed=("[@click=app.quit]y[/]",)))
    assert "[red]x[/]" in heading(named, RICH).plain
    assert "[@click=app.quit]y[/]" in heading(named, RICH).plain

"""What the community decides, in few words."""

from dataclasses import replace

import pytest
from textual.content import Content

from device.api_of_council import Begun
from device.client import Council
from device.parsing import parse
from tests.sim.scripts import COUNCIL
from tui.council_text import (
    MAX_NAMED,
    NAME_CELLS,
    begun_anew,
    brief,
    going_along,
    heading,
    seat_row,
    some,
    whole_motion,
    whole_seat,
)
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
    said = brief(replace(motion, waiting=MANY), replace(ANNA_S, quorum=67), RICH, 76).splitlines()
    assert said[1] == "1 of 67 agree, waiting for voter 0 and voter 1 and voter 2 and 97 others"
    for glyphs in (RICH, PLAIN):
        wide = replace(motion, says="界" * 400, waiting=("界" * 64,) * 100)
        lines = brief(wide, ANNA_S, glyphs, 76).splitlines()
        assert [(Content(line).cell_length <= 76, line.endswith(glyphs.ellipsis)) for line in lines] == [
            (True, True)
        ] * 2


def test_the_whole_of_a_proposal_names_everybody() -> None:
    """However many there are, and says what the owner said."""
    (motion,) = ANNA_S.motions
    said = whole_motion(replace(motion, waiting=MANY, answer="no"), ANNA_S)
    assert ", ".join(MANY) in said
    assert "You said no." in said
    assert motion.id in said


@pytest.mark.parametrize(
    ("this_node", "left", "paper", "says"),
    [
        (True, False, False, "this node, no paper: w makes one"),
        (False, False, False, "no paper"),
        (True, False, True, "this node, has a paper"),
        (False, True, True, "has left"),
    ],
)
def test_what_there_is_to_know_of_a_voter(*, this_node: bool, left: bool, paper: bool, says: str) -> None:
    """Whether its vote outlives its board."""
    voter = replace(ANNA_S.seats[0], this_node=this_node, left=left, paper=paper)
    assert seat_row(voter, RICH)[-1].plain == says
    assert says in whole_seat(voter)


def test_what_is_said_of_a_hundred_voters_is_short() -> None:
    """Who signed, who signed something else, and who began anew."""
    signed = replace(ANNA_S, fixed=replace(ANNA_S.fixed, signed=MANY))
    assert "signed by voter 0, voter 1, voter 2, 97 others" in heading(signed, RICH).plain
    disputed = replace(ANNA_S, fixed=replace(ANNA_S.fixed, disputed=MANY))
    assert "voter 0, voter 1, voter 2, 97 others signed another record" in heading(disputed, RICH).plain
    begun = replace(ANNA_S, begun=tuple(Begun(id=f"{n:08}", by=MANY[n], members=()) for n in range(20)))
    assert "Begun anew by voter 0, 19 others: press a" in heading(begun, RICH).plain


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

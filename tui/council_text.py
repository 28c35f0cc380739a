"""What the community decides, in words that fit a small terminal: names are cut, and of many only some are said."""

from collections.abc import Sequence
from dataclasses import replace

from textual.content import Content

from device.client import Begun, Council, Motion, count, fixed, motion_progress, short_id
from tui.glyphs import Glyphs

NAME_CELLS = 24
MAX_NAMED = 3
CHANGE_RULES = "hearth propose rules --help"


def heading(council: Council, glyphs: Glyphs) -> Content:
    """Say who decides, what has been decided so far or what is wrong with it, and by which rules."""
    name = glyphs.clip(council.community, 2 * NAME_CELLS)
    lines = [
        Content.assemble((name, "bold"), f"  {council.rule}"),
        _standing(council, glyphs),
        Content.styled(_rules(council), "$quiet"),
    ]
    return Content("\n").join([*lines, *_begun(council, glyphs)])


def progress(motion: Motion, council: Council, glyphs: Glyphs) -> str:
    """Say how many agree, and who is waited for."""
    return motion_progress(replace(motion, waiting=some(motion.waiting, glyphs)), council)


def going_along(one: Begun, council: Council, glyphs: Glyphs) -> str:
    """Ask whether to leave this community for one that was begun anew."""
    name, by = glyphs.clip(council.community, NAME_CELLS), glyphs.clip(one.by, NAME_CELLS)
    return (
        f"Leave {name} and go along with what {by} began anew, with {', '.join(some(one.members, glyphs))}?"
        " Models, name and settings stay; the record of the old community is kept as a file."
    )


def begun_anew(one: Begun, glyphs: Glyphs) -> str:
    """Name a community that was begun anew, for a list of such."""
    return f"{glyphs.clip(one.by, NAME_CELLS)}, {count(len(one.members), 'member')}, {short_id(one.id)}"


def some(names: Sequence[str], glyphs: Glyphs) -> tuple[str, ...]:
    """Cut each of the names; of many return the first, and how many others there are."""
    said = tuple(glyphs.clip(name, NAME_CELLS) for name in names[:MAX_NAMED])
    left_out = len(names) - len(said)
    return (*said, count(left_out, "other")) if left_out else said


def _standing(council: Council, glyphs: Glyphs) -> Content:
    if council.forked:
        return Content.styled("FORKED: two decisions for one place; nothing more is decided: hearth doctor", "$error")
    if council.fixed.disputed:
        who = ", ".join(some(council.fixed.disputed, glyphs))
        return Content.styled(f"{who} signed another record of the last decision: hearth doctor", "$error")
    if not council.decided:
        return Content.styled("Nothing has been decided yet", "$quiet")
    signed = some(council.fixed.signed, glyphs)
    return Content.styled(fixed(replace(council, fixed=replace(council.fixed, signed=signed))), "$quiet")


def _rules(council: Council) -> str:
    notice = f", {council.notice} must have seen it first" if council.notice else ""
    left = f" ({council.invitations_left} left here)" if council.votes else ""
    return (
        f"{council.quorum} must agree{notice} (margin {council.margin}, notice {council.notice});"
        f" {count(council.invitations, 'invitation')} a chosen voter{left}. Other rules: {CHANGE_RULES}"
    )


def _begun(council: Council, glyphs: Glyphs) -> list[Content]:
    if not council.begun:
        return []
    who = ", ".join(some([one.by for one in council.begun], glyphs))
    return [Content.styled(f"Begun anew by {who}: press a to go along", "$warning")]

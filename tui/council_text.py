"""What the community decides, in words that fit a small terminal: names are cut, and of many only some are said."""

from collections.abc import Sequence
from dataclasses import replace

from textual.content import Content

from device.client import Begun, Council, LogLine, Motion, Seat, count, fixed, motion_progress, rules, short_id
from tui.glyphs import Glyphs

NAME_CELLS = 24
MAX_NAMED = 3


def heading(council: Council, glyphs: Glyphs) -> Content:
    """Say who decides, what has been decided so far or what is wrong with it, and by which rules."""
    name = glyphs.clip(council.community, 2 * NAME_CELLS)
    lines = [
        Content.assemble((name, "bold"), f"  {council.rule}"),
        _standing(council, glyphs),
        Content.styled(rules(council), "$quiet"),
    ]
    return Content("\n").join([*lines, *_begun(council, glyphs)])


def brief(motion: Motion, council: Council, glyphs: Glyphs, room: int) -> str:
    """Say what is proposed in a line of so many cells, and in another how many agree and who is waited for."""
    waiting = some(motion.waiting, glyphs)
    lines = (f"{motion.says}.", motion_progress(replace(motion, waiting=waiting), council))
    return "\n".join(glyphs.clip(line, room) for line in lines)


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


def motion_row(one: Motion, council: Council) -> tuple[Content, ...]:
    """A proposal in a list: id, how many agree, what this node's owner said."""
    return (
        Content.styled(short_id(one.id), "$quiet"),
        Content(f"{len(one.agreed)} of {council.quorum} agree"),
        Content.styled(one.answer or "none yet", "$quiet" if one.answer else "$warning"),
    )


def seat_row(seat: Seat, glyphs: Glyphs) -> tuple[Content, ...]:
    """A voter in a list: name, id, and what there is to know."""
    return (
        Content(glyphs.clip(seat.name, NAME_CELLS)),
        Content.styled(short_id(seat.node_id), "$quiet"),
        Content.styled(_marks(seat), "$quiet"),
    )


def entry_row(line: LogLine, glyphs: Glyphs, room: int) -> tuple[Content, ...]:
    """An entry of the record in a list: number, and what it says in so many cells."""
    return Content.styled(str(line.number), "$quiet"), Content(glyphs.clip(_said(line), room))


def whole_motion(one: Motion, council: Council) -> str:
    """All there is to say about a proposal, every voter by name."""
    parts = [f"{one.says}.", f"You said {one.answer}." if one.answer else "You have not answered yet."]
    parts.append(motion_progress(replace(one, waiting=()), council) + ".")
    parts += [f"{title}: {', '.join(names)}" for title, names in (("Agree", one.agreed), ("Waiting for", one.waiting))]
    return "\n\n".join([*parts, f"Proposal {one.id}"])


def whole_seat(seat: Seat) -> str:
    """All there is to say about a voter."""
    return f"{seat.name}\n\n{_marks(seat)}\n\nNode {seat.node_id}"


def whole_entry(line: LogLine) -> str:
    """All there is to say about an entry."""
    return f"{_said(line)}\n\nBy {line.name or 'nobody who was let in'}, node {line.node_id}\n\nEntry {line.id}"


def some(names: Sequence[str], glyphs: Glyphs, *, most: int = MAX_NAMED) -> tuple[str, ...]:
    """Cut each of the names; of many return the first, and how many others there are."""
    said = tuple(glyphs.clip(name, NAME_CELLS) for name in names[:most])
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


def _marks(seat: Seat) -> str:
    paper = "has a paper" if seat.paper else "no paper: w makes one" if seat.this_node else "no paper"
    return ", ".join([*(["this node"] if seat.this_node else []), "has left" if seat.left else paper])


def _said(line: LogLine) -> str:
    return line.says if line.counts else f"(does not count) {line.says}"


def _begun(council: Council, glyphs: Glyphs) -> list[Content]:
    if not council.begun:
        return []
    who = ", ".join(some([one.by for one in council.begun], glyphs, most=1))
    return [Content.styled(f"Begun anew by {who}: press a to go along", "$warning")]

"""`hearth log`: the community's record, entry by entry."""

import argparse
import sys
from collections import deque
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.printing import DIM, cells, clip, columns, ellipsis, print_json, print_note, styled
from device.cli.verify import checked
from device.wording import short_id

if TYPE_CHECKING:
    from device.api_of_record import LogLine
    from device.client import DaemonClient

NUMBER_CELLS, KIND_CELLS = 6, 10  # lines are printed as they come: nobody knows yet how wide a column gets


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser(
        "log",
        parents=[shared],
        help="print what the community's record says, the newest last",
        epilog="Each line: number, beginning of the entry's id, kind, what it says. Every node that holds the same "
        "entries numbers them alike; what arrives late takes its place among the others.",
    )
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="what hearth record wrote; needs no daemon")
    parser.add_argument(
        "--kind", metavar="KIND", default="", help="only entries of a kind: admit, remove, model and so on"
    )
    parser.add_argument(
        "--author", metavar="NAME", default="", help="only what a node signed: name, or beginning of its id"
    )
    parser.add_argument("--model", metavar="NAME", default="", help="only what is about a model: name, or its digest")
    parser.add_argument("-n", "--last", type=_count, metavar="COUNT", help="only so many, the newest")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with entries as they come; Ctrl-C ends it")
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(10**8))):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of entries")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Print the entries as they come; a file's, if it holds."""
    printed = _print_file(args) if args.file else session.run(args, lambda client: _print(client, args))
    if not (printed or args.json or args.follow):
        print_note("The record has no such entry.")
    return 0


async def _print(client: "DaemonClient", args: argparse.Namespace) -> int:
    printed = 0
    lines = client.log(kind=args.kind, author=args.author, model=args.model, last=args.last, follow=args.follow)
    async with aclosing(lines):
        async for line in lines:
            printed += 1
            _print_line(line, args)
    return printed


def _print_file(args: argparse.Namespace) -> int:
    from device.core.record_text import Wanted  # noqa: PLC0415  a verb loads what it needs, `--help` nothing
    from device.errors import RecordFileError  # noqa: PLC0415  as above
    from device.record.reading import read  # noqa: PLC0415  as above
    from mesh.errors import RecordRefusedError  # noqa: PLC0415  as above
    from mesh.record import RecordView  # noqa: PLC0415  as above

    try:
        found = checked(args.file)
    except RecordRefusedError as error:
        raise RecordFileError(f"{args.file}: {error}", hint=error.hint) from error
    scribe = read(RecordView(found.history, found.membership)).scribe
    wanted = Wanted(kind=args.kind, author=args.author, model=args.model)
    lines = deque(scribe.wanted(enumerate(found.history), wanted), args.last)
    for number, entry in lines:
        _print_line(scribe.line(number, entry), args)
    return len(lines)


def _print_line(line: "LogLine", args: argparse.Namespace) -> None:
    if args.json:
        print_json(line)
    else:
        print(_text(line), flush=args.follow)


def _text(line: "LogLine") -> str:
    """Write an entry in a line, cut at the edge of a terminal."""
    kind = clip(line.kind, KIND_CELLS)  # any text, where this version does not know it
    head = f"{line.number:{NUMBER_CELLS}}  {short_id(line.id)}  {kind}{' ' * (KIND_CELLS - cells(kind))}  "
    said = line.says if line.counts else f"(does not count) {line.says}"
    room = columns() if sys.stdout.isatty() else 0
    if room and cells(head + said) > room:
        more = ellipsis(sys.stdout)
        said = clip(said, max(0, room - cells(head + more))) + more
    return styled(head, DIM, sys.stdout) + said

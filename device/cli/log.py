"""`hearth log`: what stands in the community's record, in words; of the daemon's record, or of an exported one."""

import argparse
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.printing import print_json, print_table
from device.cli.verify import checked
from device.wording import named, short_id

if TYPE_CHECKING:
    from device.client import DaemonClient
    from device.core.record_words import RecordLine
    from mesh.core.record_check import CheckedRecord

ID_DIGITS = 12


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("log", parents=[shared], help="show what stands in the community's record")
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="what hearth record wrote; needs no daemon")
    parser.add_argument("--kind", metavar="KIND", default="", help="only entries of this kind, such as admit")
    parser.add_argument("--author", metavar="NODE", default="", help="only this node's: a name, or how an id begins")
    parser.add_argument("-n", "--last", type=_count, metavar="N", help="only the last N of them")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read the record, check it, and say what is in it, the oldest first."""
    from device.core.record_words import in_words  # noqa: PLC0415  a verb loads what it needs, `--help` nothing
    from device.errors import RecordFileError  # noqa: PLC0415  as above
    from mesh.errors import RecordRefusedError  # noqa: PLC0415  as above

    try:
        found = checked(args.file) if args.file else session.run(args, _of_daemon)
    except RecordRefusedError as error:
        raise RecordFileError(f"{args.file or 'the record of this node'}: {error}", hint=error.hint) from error
    lines = deque((one for one in in_words(found.history) if _is_wanted(one, args)), maxlen=args.last)
    if args.json:
        for one in lines:
            print_json(one)
    else:
        rows = [(str(one.number), one.entry[:ID_DIGITS], _author(one), one.says) for one in lines]
        print_table(("#", "ENTRY", "BY", "WHAT"), rows)
    return 0


async def _of_daemon(client: "DaemonClient") -> "CheckedRecord":
    import asyncio  # noqa: PLC0415  as above

    from mesh.core.record_check import RecordCheck  # noqa: PLC0415  as above

    check = RecordCheck()
    async with client.record() as record:
        async for piece in record.pieces:
            await asyncio.to_thread(check.receive, piece)
    return await asyncio.to_thread(check.finish)


def _author(one: "RecordLine") -> str:
    return named(one.name, one.author) if one.name else short_id(one.author)


def _is_wanted(one: "RecordLine", args: argparse.Namespace) -> bool:
    by = args.author in ("", one.name) or one.author.startswith(args.author)
    return by and args.kind in ("", one.kind)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number

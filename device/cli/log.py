"""`hearth log`: what stands in the community's record, in words; of the daemon's record, or of an exported one."""

import argparse
from collections import deque
from collections.abc import Collection
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
LOOK_EVERY_S = 0.5


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("log", parents=[shared], help="show what stands in the community's record")
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="what hearth record wrote; needs no daemon")
    parser.add_argument("--kind", metavar="KIND", default="", help="only entries of this kind, such as admit")
    parser.add_argument("--author", metavar="NODE", default="", help="only this node's: a name, or how an id begins")
    parser.add_argument("-n", "--last", type=_count, metavar="N", help="only the last N of them")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with whatever comes, until Ctrl-C")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read the record, check it, and say what is in it, the oldest first."""
    from device.errors import RecordFileError  # noqa: PLC0415  a verb loads what it needs, `--help` nothing
    from mesh.errors import RecordRefusedError  # noqa: PLC0415  as above

    try:
        if args.file:
            _show(checked(args.file), args)
        else:
            session.run(args, lambda client: _told(client, args))
    except RecordRefusedError as error:
        raise RecordFileError(f"{args.file or 'the record of this node'}: {error}", hint=error.hint) from error
    return 0


async def _told(client: "DaemonClient", args: argparse.Namespace) -> None:
    import asyncio  # noqa: PLC0415  as above

    found = await _of_daemon(client)
    seen = _show(found, args)
    while args.follow:
        await asyncio.sleep(LOOK_EVERY_S)
        community = (await client.status()).community
        if community is not None and community.entries != len(seen):
            seen = _show(await _of_daemon(client), args, seen)


def _show(found: "CheckedRecord", args: argparse.Namespace, seen: Collection[str] = ()) -> set[str]:
    """Print what is wanted and was not seen; return the ids of all that is in the record."""
    from device.core.record_words import in_words  # noqa: PLC0415  as above

    told = list(in_words(found.history))
    lines = deque((one for one in told if one.entry not in seen and _is_wanted(one, args)), maxlen=args.last)
    if args.json:
        for one in lines:
            print_json(one)
        return {one.entry for one in told}
    rows = [(str(one.number), one.entry[:ID_DIGITS], _author(one), one.says) for one in lines]
    if not seen:
        print_table(("#", "ENTRY", "BY", "WHAT"), rows)
    else:
        for row in rows:
            print("  ".join(row), flush=True)
    return {one.entry for one in told}


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

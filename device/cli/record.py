"""`hearth record`: all that the community has signed, as one file that anybody can check."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.printing import print_json
from device.wording import size

if TYPE_CHECKING:
    from device.client import DaemonClient


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("record", parents=[shared], help="write the community's record to a file")
    parser.add_argument("file", type=Path, metavar="FILE", help="a new file; anybody can check it: hearth verify FILE")
    parser.add_argument(
        "--fixed", action="store_true", help="only what decisions have fixed, with the voters' signatures"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Have the daemon write the record, and keep it."""
    written = session.run(args, lambda client: _write(client, args.file, fixed=args.fixed))
    if args.json:
        print_json({"file": str(args.file), "size_bytes": written})
    else:
        print(f"The community's record is in {args.file} ({size(written)}).")
        print(f"Anybody can check it, anywhere: hearth verify {args.file}")
    return 0


async def _write(client: "DaemonClient", target: Path, *, fixed: bool) -> int:
    import asyncio  # noqa: PLC0415  a verb loads what it needs, `--help` nothing

    from device.cli.bundle_file import BundleWriter  # noqa: PLC0415  as above

    async with client.record(fixed=fixed) as record:
        with BundleWriter(target) as file:
            file.require_room(record.size)
            async for piece in record.pieces:
                await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(file.finish)
    return record.size

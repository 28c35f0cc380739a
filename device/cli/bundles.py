"""`hearth models export` and `import`: one model as one file, carried on a stick.

The daemon alone reads and writes its store, and this command alone opens the file: the daemon may be another user, who
may neither read a person's stick nor be told to write anywhere.  So the bytes pass the owner's socket, in pieces.
"""

import argparse
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.arriving import arrived
from device.cli.printing import print_json
from device.cli.progress import PullLine
from device.wording import size

if TYPE_CHECKING:
    from device.api_of_models import Model
    from device.client import DaemonClient

WRITE_BYTES = 1024 * 1024


def run_export(args: argparse.Namespace) -> int:
    """Write a model to a file."""
    from device.cli.bundle_file import target_of  # noqa: PLC0415  a verb loads what it needs

    target = target_of(args.file, args.name)
    written = session.run(args, lambda client: _export(client, args, target))
    if args.json:
        print_json({"stage": "done", "file": str(target), "size_bytes": written})
    else:
        print(f"{args.name} is in {target} ({size(written)}). All of it is on the medium: it may be taken out.")
    return 0


def run_import(args: argparse.Namespace) -> int:
    """Install a model from a file."""
    model = session.run(args, lambda client: _import(client, args))
    if not args.json:
        print(f"{model.name} is here ({size(model.size_bytes)}, {model.licence}). Try: hearth run {model.name}")
    return 0


async def _export(client: "DaemonClient", args: argparse.Namespace, target: Path) -> int:
    import asyncio  # noqa: PLC0415  as above

    from device.api_of_models import PullProgress  # noqa: PLC0415  as above
    from device.cli.bundle_file import BundleWriter  # noqa: PLC0415  as above
    from device.client import AnswerBrokenOffError  # noqa: PLC0415  as above

    line = PullLine(args.name, sys.stderr)
    try:
        async with client.export_bundle(args.name) as bundle:
            with BundleWriter(target) as file:
                file.require_room(bundle.size)
                done = 0
                async for piece in _gathered(bundle.pieces):
                    await asyncio.to_thread(file.write, piece)
                    done += len(piece)
                    progress = PullProgress(stage="export", done=done, total=bundle.size)
                    if not args.json:
                        line.show(progress, now=time.monotonic())
                await asyncio.to_thread(file.finish)
    except AnswerBrokenOffError as error:
        error.hint = f"export again; if it breaks off again, a file may be damaged: hearth models verify {args.name}"
        raise
    finally:
        line.end()
    return bundle.size


async def _import(client: "DaemonClient", args: argparse.Namespace) -> "Model":
    from device.cli.bundle_file import opened  # noqa: PLC0415  as above
    from device.client import Upload  # noqa: PLC0415  as above

    with opened(args.file) as (size_bytes, pieces):
        upload = Upload(size_bytes, _in_thread(pieces))
        return await arrived(client.import_bundle(upload, name=args.called), name=args.file.name, as_json=args.json)


async def _gathered(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join what comes into pieces that are worth a write."""
    held = bytearray()
    async for piece in pieces:
        held += piece
        if len(held) >= WRITE_BYTES:
            yield bytes(held)
            held.clear()
    yield bytes(held)


async def _in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    import asyncio  # noqa: PLC0415  as above

    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece

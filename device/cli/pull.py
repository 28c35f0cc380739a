"""`hearth models pull`: fetch a model and show how far it is."""

import argparse
import sys
import time
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.printing import print_json
from device.cli.progress import PullLine
from device.wording import size

if TYPE_CHECKING:
    from device.api import Model
    from device.client import DaemonClient


def run(args: argparse.Namespace) -> int:
    """Pull; the daemon does the work and says how far it is."""
    model = session.run(args, lambda client: _pull(client, args))
    if not args.json:
        print(f"{model.name} is here ({size(model.size_bytes)}, {model.licence}). Try: hearth run {model.name}")
    return 0


async def _pull(client: "DaemonClient", args: argparse.Namespace) -> "Model":
    from contextlib import aclosing  # noqa: PLC0415  loaded anyway by then

    from device.api import Model  # noqa: PLC0415  as above

    line = PullLine(args.name, sys.stderr)
    try:
        async with aclosing(client.pull(args.name)) as pull:
            async for item in pull:
                if isinstance(item, Model):
                    model = item
                if args.json:
                    print_json({"stage": "done", "model": item} if isinstance(item, Model) else item)
                elif not isinstance(item, Model):
                    line.show(item, now=time.monotonic())
    finally:
        line.end()
    return model

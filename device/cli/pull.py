"""`hearth models pull`: fetch a model and show how far it is."""

import argparse
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.arriving import arrived
from device.wording import size

if TYPE_CHECKING:
    from device.api_of_models import Model
    from device.client import DaemonClient


def run(args: argparse.Namespace) -> int:
    """Pull; the daemon does the work and says how far it is."""
    model = session.run(args, lambda client: _pull(client, args))
    if not args.json:
        print(f"{model.name} is here ({size(model.size_bytes)}, {model.licence}). Try: hearth run {model.name}")
    return 0


async def _pull(client: "DaemonClient", args: argparse.Namespace) -> "Model":
    return await arrived(client.pull(args.name, anyway=args.anyway), name=args.name, as_json=args.json)

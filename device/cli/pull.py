"""`hearth models pull`: fetch a model and show how far it is."""

import argparse

from device.cli import session
from device.cli.arriving import arrived
from device.wording import size


def run(args: argparse.Namespace) -> int:
    """Pull; the daemon does the work and says how far it is."""
    model = session.run(args, lambda client: arrived(client.pull(args.name), name=args.name, as_json=args.json))
    if not args.json:
        print(f"{model.name} is here ({size(model.size_bytes)}, {model.licence}). Try: hearth run {model.name}")
    return 0

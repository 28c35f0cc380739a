"""`hearth serve`: the daemon, in the foreground, until it is told to stop."""

import argparse


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("serve", parents=[shared], help="run this node, in the foreground")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the node until SIGTERM or Ctrl-C."""
    from device.config import load_config  # noqa: PLC0415  other verbs need none of this

    print(load_config(args.data))
    return 0

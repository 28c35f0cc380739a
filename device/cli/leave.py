"""`hearth leave`: leave the community."""

import argparse
import sys

from device.cli import session
from device.cli.printing import confirmed, print_error, print_json


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("leave", parents=[shared], help="leave the community; models and settings stay")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Leave, after asking; where nobody can be asked, only with --yes."""
    if session.run(args, lambda client: client.status()).community is None:
        print_error("this node is in no community", "found one: hearth pair, or join one: hearth join WORDS")
        return 1
    if not args.yes:
        if not sys.stdin.isatty():
            print_error("nobody can be asked here whether to leave; nothing was done", "mean it: hearth leave --yes")
            return 1
        if not confirmed("Leave the community? Its members will no longer answer this node."):
            return 1
    session.run(args, lambda client: client.leave())
    print_json({}) if args.json else print("Left the community. Models and settings are still here.")
    return 0

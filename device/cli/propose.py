"""`hearth propose`: a voter, an observer, a removal, or other rules."""

import argparse

from device.cli import session
from device.cli.printing import print_json
from device.wording import short_id

WHAT = ("voter", "observer", "remove")
RULES = ("margin", "notice", "invitations")


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser(
        "propose",
        parents=[shared],
        help="propose a voter, an observer, a removal or other rules",
        epilog="hearth propose voter NODE; hearth propose rules --margin 1. The rules: docs/governance.md.",
    )
    parser.add_argument("what", choices=(*WHAT, "rules"), metavar="WHAT", help="voter, observer, remove or rules")
    parser.add_argument("node", nargs="?", default="", metavar="NODE", help="whom: its name, or how its id begins")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; everybody can read it in the record")
    parser.add_argument("--margin", type=int, metavar="N", help="how many more than two thirds must agree")
    parser.add_argument("--notice", type=int, metavar="N", help="how many voters must have seen a proposal first")
    parser.add_argument("--invitations", type=int, metavar="N", help="how many nodes each chosen voter may let in")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Propose it, and say whether that was enough."""
    rules = {name: value for name in RULES if (value := getattr(args, name)) is not None}
    proposed = session.run(args, lambda client: client.propose(args.what, args.node, args.reason, rules))
    if args.json:
        print_json(proposed)
    elif proposed.decided:
        print(f"Decided: proposal {short_id(proposed.id)}.")
    else:
        print(f"Proposed: {short_id(proposed.id)}. The other voters decide with you: hearth community")
    return 0

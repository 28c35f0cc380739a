"""`hearth vote`: yes or no to a proposal."""

import argparse

from device.cli import session
from device.cli.printing import print_json
from device.wording import motion_progress


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("vote", parents=[shared], help="say yes or no to a proposal")
    parser.add_argument("proposal", metavar="PROPOSAL", help="its id, or the beginning of it (hearth community)")
    parser.add_argument("answer", choices=("yes", "no"), metavar="yes|no", help="what this node's owner says")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Answer, and show how things are then."""
    found = session.run(args, lambda client: client.vote(args.proposal, agrees=args.answer == "yes"))
    if args.json:
        print_json(found)
        return 0
    still = [one for one in found.motions if one.id.startswith(args.proposal.lower())]
    if not still:
        print(f"Decided: proposal {args.proposal}.")
    else:
        print(f"Said {args.answer}. {motion_progress(still[0], found)}")
    return 0

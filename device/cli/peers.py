"""`hearth peers`: who is there, how far away or why not, and undoing a pairing."""

import argparse
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.printing import print_json, print_table
from device.cli.status import print_neighbours
from device.wording import short_id

if TYPE_CHECKING:
    from device.api import Peers


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb and its actions to the grammar."""
    parser = verbs.add_parser("peers", parents=[shared], help="list neighbours; forget, block or unblock one")
    parser.set_defaults(run=run_list)
    actions = parser.add_subparsers(metavar="ACTION", title="actions")
    listing = actions.add_parser("list", parents=[shared], help="list neighbours and nodes nearby (the default)")
    listing.set_defaults(run=run_list)
    forget = actions.add_parser("forget", parents=[shared], help="undo the pairing with a node")
    forget.set_defaults(run=run_forget)
    block = actions.add_parser("block", parents=[shared], help="cut a node off at once, a stolen one for instance")
    block.set_defaults(run=run_block)
    unblock = actions.add_parser("unblock", parents=[shared], help="let a blocked node in again")
    unblock.set_defaults(run=run_unblock)
    for action in (forget, block, unblock):
        action.add_argument("id", metavar="ID", help="its name, or how its id begins")


def run_list(args: argparse.Namespace) -> int:
    """Show neighbours, strangers nearby, and members without a link."""
    peers = session.run(args, lambda client: client.peers())
    if args.json:
        print_json(peers)
    else:
        _print(peers)
    return 0


def run_forget(args: argparse.Namespace) -> int:
    """Undo the pairing."""
    forgotten = session.run(args, lambda client: client.forget(args.id))
    if args.json:
        print_json(forgotten)
    elif forgotten.ended:
        print(f"Forgot {args.id}: it is no member any more.")
    else:
        print(f"Proposed to remove {args.id}: the other voters decide with you (hearth community).")
        print(f"To cut it off on this side at once: hearth peers block {args.id}")
    return 0


def run_block(args: argparse.Namespace) -> int:
    """Cut the node off."""
    session.run(args, lambda client: client.block(args.id))
    print_json({}) if args.json else print(f"Blocked {args.id}: this node no longer speaks with it.")
    return 0


def run_unblock(args: argparse.Namespace) -> int:
    """Let the node in again."""
    session.run(args, lambda client: client.unblock(args.id))
    print_json({}) if args.json else print(f"Unblocked {args.id}: this node speaks with it again if it is a member.")
    return 0


def _print(peers: "Peers") -> None:
    print_neighbours(peers.neighbours)
    lost = [node for node in peers.neighbours if node.trouble]
    if lost:
        print()
        print_table(("ID", "NOT REACHED", "WHY"), [(short_id(node.node_id), node.name, node.trouble) for node in lost])
    strangers = [node for node in peers.nearby if not node.member]
    if strangers:
        print()
        print_table(
            ("ID", "NEARBY, NOT PAIRED"), [(short_id(node.node_id), ", ".join(node.addresses)) for node in strangers]
        )
    if peers.members:
        print()
        print_table(
            ("ID", "MEMBER", "ROLE", "FINGERPRINT"),
            [
                (
                    short_id(member.node_id),
                    f"{member.name} (this node)" if member.this_node else member.name,
                    member.role,
                    member.fingerprint,
                )
                for member in peers.members
            ],
        )

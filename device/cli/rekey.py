"""`hearth rekey`: a new identity for this node, where a copy of its SD card uses the old one."""

import argparse
import sys
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.printing import confirmed, print_error, print_json, print_note

if TYPE_CHECKING:
    from device.api import Rekeyed, Status
    from device.client import DaemonClient

BACK_WITHIN_S = 60.0  # running answers have their grace, and a small board starts slowly
LOOK_EVERY_S = 0.2
VOTER = "voter"


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("rekey", parents=[shared], help="a new identity for this node, if its card was copied")
    parser.add_argument(
        "--moved", action="store_true", help="keep the identity: the board it was made on is out of use"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replace the identity after asking, or accept the board."""
    if args.moved:
        session.run(args, lambda client: client.accept_board())
        print_json({}) if args.json else print("This board is the node's own from now on.")
        return 0
    status = session.run(args, lambda client: client.status())
    if not args.yes:
        if not sys.stdin.isatty():
            print_error(
                "nobody can be asked here about a new identity; nothing was done", "mean it: hearth rekey --yes"
            )
            return 1
        if not confirmed(_question(status)):
            return 1
    rekeyed, node_id = session.run(args, lambda client: _rekey(client, status.node_id))
    if args.json:
        print_json({"node_id": node_id, "kept": rekeyed.kept})
        return 0
    if not node_id:
        print_note("The daemon is not back yet: see its log, or start it: hearth serve")
    print(f"This node has a new identity{f', {node_id}' if node_id else ''}.")
    print(f"The old one is kept in {rekeyed.kept}. Join again: hearth pair there, hearth join WORDS here.")
    return 0


def _question(status: "Status") -> str:
    mine = [] if status.community is None else [one for one in status.community.members if one.this_node]
    left = f" It leaves “{status.community.name}” behind and must be paired again." if status.community else ""
    if status.community and any(one.role == VOTER for one in mine) and len(status.community.members) > 1:
        left += " Its vote stays with the old identity, unless its paper is used (hearth community)."
    return f"Give this node a new identity?{left} Models, name and settings stay."


async def _rekey(client: "DaemonClient", old: str) -> "tuple[Rekeyed, str]":
    """Ask for it, and wait until the node is back as another one; return its id, or nothing if it is not."""
    import asyncio  # noqa: PLC0415  a verb loads what it needs, `--help` nothing

    from device.errors import DeviceError  # noqa: PLC0415  as above

    rekeyed = await client.rekey()
    try:
        async with asyncio.timeout(BACK_WITHIN_S):
            while True:
                await asyncio.sleep(LOOK_EVERY_S)
                try:
                    node_id = (await client.status()).node_id
                except DeviceError:  # it is on its way
                    continue
                if node_id != old:
                    return rekeyed, node_id
    except TimeoutError:
        return rekeyed, ""

"""`hearth pair`: offer a neighbour to join."""

import argparse
import sys
from typing import TYPE_CHECKING

from device.cli import qr, session
from device.cli.printing import BOLD, print_facts, print_json, styled
from device.wording import duration

if TYPE_CHECKING:
    from device.api import Offer

_ROUNDING_S = 30  # 599 seconds are ten minutes to a person


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("pair", parents=[shared], help="offer a neighbour to join: six words and a QR code")
    parser.add_argument("--close", action="store_true", help="take the open offer back")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Open the offer in the daemon and show it; the daemon waits for the neighbour."""
    if args.close:
        session.run(args, lambda client: client.close_offer())
        print_json({}) if args.json else print("The offer is closed.")
        return 0
    offer = session.run(args, lambda client: client.pair())
    if args.json:
        print_json(offer)
    else:
        _print(offer)
    return 0


def _print(offer: "Offer") -> None:
    if sys.stdout.isatty():
        qr.draw(offer.qr, sys.stdout)
    print(f"On the other node, within {duration(offer.expires_in_s + _ROUNDING_S)}:\n")
    print(f"    {styled(f'hearth join {offer.words}', BOLD, sys.stdout)}\n")
    print("then compare the fingerprint: hearth peers. This one is")
    print_facts([("name", offer.name), ("id", offer.node_id), ("fingerprint", offer.fingerprint)])

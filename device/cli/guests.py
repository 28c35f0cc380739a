"""`hearth guests`: let people on the same network ask from their phones, and stop that again."""

import argparse
import sys
from typing import TYPE_CHECKING

from device.cli import qr, session
from device.cli.keys import add_limits
from device.cli.printing import print_json, print_note
from device.wording import count, fingerprint_lines

if TYPE_CHECKING:
    from device.api import GuestAccess


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb and its actions to the grammar."""
    parser = verbs.add_parser("guests", parents=[shared], help="let phones on this network ask: open, close, status")
    parser.set_defaults(run=run_status)
    actions = parser.add_subparsers(metavar="ACTION", title="actions")
    status = actions.add_parser("status", parents=[shared], help="show whether guests may ask (the default)")
    status.set_defaults(run=run_status)
    opening = actions.add_parser("open", parents=[shared], help="let guests ask, and show the QR code for their phones")
    add_limits(opening, "6 and 50000 by default")
    opening.set_defaults(run=run_open)
    closing = actions.add_parser("close", parents=[shared], help="let no guest ask any more; codes become void")
    closing.set_defaults(run=run_close)


def run_status(args: argparse.Namespace) -> int:
    """Show how it is."""
    return _shown(args, session.run(args, lambda client: client.guests()))


def run_open(args: argparse.Namespace) -> int:
    """Open, and show the code."""
    opened = session.run(args, lambda client: client.open_guests(per_minute=args.per_minute, per_day=args.per_day))
    return _shown(args, opened)


def run_close(args: argparse.Namespace) -> int:
    """Close."""
    return _shown(args, session.run(args, lambda client: client.close_guests()))


def _shown(args: argparse.Namespace, guests: "GuestAccess") -> int:
    if args.json:
        print_json(guests)
    else:
        _print(guests)
    return 0


def _print(guests: "GuestAccess") -> None:
    if not guests.open:
        print("Closed: only this machine may ask. Open it to phones: hearth guests open")
        return
    if not guests.urls:
        print("Open, but this machine has no address in a network now. It listens as soon as it has one.")
        return
    if guests.shows_key:
        if sys.stdout.isatty():
            qr.draw(_for_old_phones(guests.urls), sys.stdout)
        print("Phones on this network ask here:\n")
    else:
        print("Programs with a key find this node here:\n")
    for url in guests.urls:
        print(f"    {url}")
    print()
    if guests.https_urls:
        print("Encrypted, here. The browser warns of the certificate once; go on if its SHA-256 fingerprint is this:\n")
        for line in (*guests.https_urls, *fingerprint_lines(guests.fingerprint)):
            print(f"    {line}")
        print()
    so_far = f"{count(guests.phones, 'phone')} so far."
    if guests.shows_key:
        print(f"{_allowed(guests)} {so_far}")
        plain = "http:// is not encrypted" if guests.https_urls else "this is not encrypted"
        print_note(f"Anybody on an open Wi-Fi can read along: {plain}. Close it with: hearth guests close")
    elif guests.guest_keys:
        print(f"{so_far} The code given out before stays valid; for a new one: hearth guests open")


def _for_old_phones(urls: "tuple[str, ...]") -> str:
    """The first with an address, IPv4 where there is one: not every phone knows names that end in .local."""
    return next((url for url in urls if ".local:" not in url), urls[0])


def _allowed(guests: "GuestAccess") -> str:
    rate = f"{count(guests.per_minute, 'question')} a minute" if guests.per_minute else "as often as it likes"
    tokens = f", all together for {guests.per_day} tokens a day" if guests.per_day else ""
    return f"Each may ask {rate}{tokens}."

"""`hearth keys`: who else may ask, and what; a key is shown once, when it is made."""

import argparse
import sys
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.printing import BOLD, print_json, print_note, print_table, styled
from device.wording import budget, duration

if TYPE_CHECKING:
    from device.api import ApiKey

SCOPES = ("ask", "embed", "admin")


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb and its actions to the grammar."""
    parser = verbs.add_parser("keys", parents=[shared], help="list the keys that programs and guests ask with; add, rm")
    parser.set_defaults(run=run_list)
    actions = parser.add_subparsers(metavar="ACTION", title="actions")
    listing = actions.add_parser("ls", parents=[shared], help="list the keys (the default)")
    listing.set_defaults(run=run_list)
    adding = actions.add_parser("add", parents=[shared], help="make a key for a program on another machine")
    adding.add_argument("name", metavar="NAME", help="what to call it")
    adding.add_argument(
        "--scope",
        default="ask",
        metavar="SCOPES",
        help=f"what it is for: {', '.join(SCOPES)}, with commas between (ask by default; admin works over SSH only)",
    )
    add_limits(adding, "as many as it likes by default")
    adding.set_defaults(run=run_add)
    removing = actions.add_parser("rm", parents=[shared], help="revoke a key at once")
    removing.add_argument("key", metavar="NAME|ID", help="its name or id")
    removing.set_defaults(run=run_remove)


def add_limits(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --per-minute and --per-day."""
    parser.add_argument("--per-minute", type=int, metavar="N", help=f"questions a minute; 0: no limit; {default}")
    parser.add_argument(
        "--per-day", type=int, metavar="N", help=f"tokens a day, read and written; 0: no limit; {default}"
    )


def run_list(args: argparse.Namespace) -> int:
    """Show every key."""
    keys = session.run(args, lambda client: client.keys())
    if args.json:
        print_json(keys)
    elif keys.keys:
        print_table(("ID", "KEY", "FOR", "USED", "LIMITS"), [_row(key) for key in keys.keys])
    else:
        print("No keys yet. For a program: hearth keys add NAME. For phones: hearth guests open.")
    return 0


def run_add(args: argparse.Namespace) -> int:
    """Make a key and show it, this once."""
    scopes = [scope.strip() for scope in args.scope.split(",") if scope.strip()]
    made = session.run(
        args,
        lambda client: client.add_key(
            args.name, scopes=scopes, per_minute=args.per_minute or 0, per_day=args.per_day or 0
        ),
    )
    if args.json:
        print_json(made)
        return 0
    print(styled(made.secret, BOLD, sys.stdout))
    print_note("This key is not shown again. It goes into the header  Authorization: Bearer KEY")
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """Revoke a key."""
    session.run(args, lambda client: client.remove_key(args.key))
    print_json({}) if args.json else print(f"Revoked {args.key}: nobody can ask with it any more.")
    return 0


def _row(key: "ApiKey") -> tuple[str, ...]:
    used = "never" if key.used_ago_s is None else f"{duration(key.used_ago_s)} ago"
    return key.id, key.name, ", ".join(key.scopes), used, budget(key)

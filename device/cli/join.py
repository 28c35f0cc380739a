"""`hearth join`: take a neighbour's offer."""

import argparse
import sys

from device.cli import session
from device.cli.printing import BOLD, print_facts, print_json, print_note, styled

WORDS = 6


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("join", parents=[shared], help="join the neighbour that shows six words")
    parser.add_argument("words", nargs="+", metavar="WORD", help="the six words, or the text of the QR code")
    parser.add_argument("--at", metavar="HOST[:PORT]", help="address of its door, where it is not found by itself")
    parser.set_defaults(run=run, misused=parser.error)


def run(args: argparse.Namespace) -> int:
    """Join and show who it was."""
    words = normalised(args.words)
    if ":" not in words and len(words.split()) != WORDS:
        args.misused(f"{WORDS} words are needed, not {len(words.split())}")
    if sys.stderr.isatty() and not args.json:
        print_note("Looking for the neighbour who knows these words...")
    joined = session.run(args, lambda client: client.join(words, at=args.at))
    if args.json:
        print_json(joined)
        return 0
    print(f"Joined {styled(joined.name, BOLD, sys.stdout)}. Compare with what its screen shows:")
    facts = [("id", joined.node_id), ("fingerprint", joined.fingerprint)]
    print_facts([*facts, ("community", joined.community)] if joined.community else facts)
    print("Wrong one?  hearth leave")
    return 0


def normalised(parts: list[str]) -> str:
    """The words as one line, however they were typed: capitals, commas, hyphens, one argument or six.

    The text of a QR code, which holds a colon, stays as it is.
    """
    text = " ".join(parts).strip()
    return text if ":" in text else " ".join(text.lower().replace("-", " ").replace(",", " ").split())

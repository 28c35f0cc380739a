"""`hearth models card`: what people should know of a model; asked for field by field, or set by scripts."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.printing import BOLD, cells, clip, ellipsis, print_error, print_facts, print_json, print_note, styled

if TYPE_CHECKING:
    from device.card_view import ModelCard
    from models.core.card import Card

MAX_README_BYTES = 1024 * 1024
MAX_SHOWN_CELLS = 60  # of a value in brackets
CONTINUED = "\n" + " " * 18  # below the value's first line


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the action to the grammar."""
    parser = actions.add_parser(
        "card",
        parents=[shared],
        help="show what people should know of a model, or write it down",
        epilog="What the fields mean: docs/model-cards.md. What nobody knows is unknown.",
    )
    parser.add_argument("name", metavar="NAME", help="name or digest")
    parser.add_argument(
        "--from-readme", type=Path, metavar="FILE", help="take over what the head of a hub's README says"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="set a field; may be given several times"
    )
    parser.add_argument("--edit", action="store_true", help="ask for each field; Enter keeps what is there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the card, changed first where that is asked for."""
    from device.errors import BadRequestError  # noqa: PLC0415  a verb loads what it needs, `--help` nothing
    from models.errors import InvalidCardError  # noqa: PLC0415  as above

    if args.edit and not sys.stdin.isatty():
        print_error("nobody can be asked here; nothing was changed", "in scripts: --set FIELD=VALUE")
        return 1
    shown = session.run(args, lambda client: client.card(args.name))
    try:
        card = _changed(shown.card, args)
    except InvalidCardError as error:
        wrong = BadRequestError(f"{error}; nothing was changed")
        wrong.hint = error.hint
        raise wrong from error
    if card != shown.card:
        shown = session.run(args, lambda client: client.keep_card(args.name, card))
    elif args.from_readme or args.set or args.edit:
        print_note("Nothing has changed.")
    if args.json:
        print_json(shown.to_fields())
    else:
        _print_card(shown)
    return 0


def _changed(card: "Card", args: argparse.Namespace) -> "Card":
    """Return the card as it is to be.  Raises InvalidCardError."""
    from device.core.card_text import value_of  # noqa: PLC0415  as above

    if args.from_readme:
        card = card.changed(_readme(args.from_readme))
    for assignment in args.set:
        field, _, text = assignment.partition("=")
        card = card.changed({field: value_of(field, text)})
    return _asked(card) if args.edit else card


def _readme(path: Path) -> dict[str, object]:
    from models.card_import import from_readme  # noqa: PLC0415  as above

    with path.open("rb") as file:
        return from_readme(file.read(MAX_README_BYTES).decode(errors="replace"))


def _asked(card: "Card") -> "Card":
    """Ask for one field after the other; what a card cannot hold is asked for again."""
    from device.core.card_text import QUESTIONS, text_of, value_of  # noqa: PLC0415  as above
    from models.errors import InvalidCardError  # noqa: PLC0415  as above

    print_note("Enter keeps what stands in brackets; unknown says that nobody knows. Ctrl-C changes nothing.")
    for field, question in QUESTIONS.items():
        while True:
            kept = _short(text_of(card, field))
            print(f"{question}\n  {field} [{kept}]: ", end="", file=sys.stderr, flush=True)
            line = sys.stdin.readline()
            if not line:
                raise KeyboardInterrupt
            if not line.strip():
                break
            try:
                card = card.changed({field: value_of(field, line)})
                break
            except InvalidCardError as error:
                print_note(f"  {error}")
    return card


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if cells(line) <= MAX_SHOWN_CELLS else clip(line, MAX_SHOWN_CELLS) + ellipsis(sys.stderr)


def _print_card(shown: "ModelCard") -> None:
    from device.core.card_text import QUESTIONS, text_of  # noqa: PLC0415  as above

    card, sharing = shown.card, shown.sharing
    print(styled(card.name, BOLD, sys.stdout))
    facts = [(field.replace("_", " "), text_of(card, field).replace("\n", CONTINUED)) for field in QUESTIONS]
    facts.append(("passed on", f"yes: {sharing.reason}" if sharing.shared else f"no: {sharing.reason}"))
    facts.append(("signed by", sharing.signed_by or "nobody yet"))
    publishers = sharing.published_by or ("nobody in this community",)
    facts += [("retired", sharing.retired)] if sharing.retired else [("published by", by) for by in publishers]
    print_facts(facts[1:])
    if not sharing.shared:
        print_note(f"To pass it on: {sharing.hint}")

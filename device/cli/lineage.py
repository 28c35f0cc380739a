"""`hearth models lineage`: what a model was made from, drawn as a tree."""

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.printing import BOLD, DIM, print_json, styled
from device.wording import short_id

if TYPE_CHECKING:
    from models.core.lineage import Ancestor

UNKNOWN = "unknown"
BRANCHES = {True: ("├─ ", "│  ", "└─ ", "   "), False: ("|- ", "|  ", "`- ", "   ")}


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the action to the grammar."""
    parser = actions.add_parser("lineage", parents=[shared], help="draw what a model was made from, how and by whom")
    parser.add_argument("name", metavar="NAME", help="name or digest")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw the tree."""
    tree = session.run(args, lambda client: client.lineage(args.name))
    if args.json:
        print_json(tree)
        return 0
    for line in drawn(tree, fancy="utf" in (sys.stdout.encoding or "").lower()):
        print(line)
    return 0


def drawn(tree: "Ancestor", *, fancy: bool) -> Iterator[str]:
    """Draw a tree: a model with what is known of it, below it what it was made from.

    fancy: with lines, where the stream can carry them.
    """
    yield _title(tree)
    below = tree.parents or ()
    for fact in _facts(tree):
        yield styled(f"{BRANCHES[fancy][1] if below else '   '}{fact}", DIM, sys.stdout)
    branch, beside, last, nothing = BRANCHES[fancy]
    for index, parent in enumerate(below):
        first, rest = (last, nothing) if index == len(below) - 1 else (branch, beside)
        for number, line in enumerate(drawn(parent, fancy=fancy)):
            yield (rest if number else first) + line


def _title(tree: "Ancestor") -> str:
    digest = f" ({short_id(tree.digest)})" if tree.digest != UNKNOWN else ""
    relation = {"": "", UNKNOWN: "made from "}.get(tree.relation, f"{tree.relation} from ")
    return f"{relation}{styled(tree.name, BOLD, sys.stdout)}{digest}"


def _facts(tree: "Ancestor") -> Iterator[str]:
    """Say what is known; of a model that is not here only what its child's card says."""
    facts = {
        "licence": tree.licence,
        "source": tree.source,
        "recipe": tree.recipe,
        "tools": ", ".join(tree.tools) or UNKNOWN,
        "signed by": tree.signed_by or UNKNOWN,
    }
    for name, value in facts.items():
        if value != UNKNOWN:
            yield f"{name}: {value}"
    if not tree.here:
        yield "not here: nothing more is known of it"
    elif tree.cut:
        yield "made from: further up, or too far back"
    elif tree.parents is None:
        yield "made from: unknown"
    elif not tree.parents:
        yield "made from no other model"

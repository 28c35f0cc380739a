"""`hearth contributions`: who gave answers and models to whom, by the community's record."""

import argparse
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.printing import print_json, print_note, print_table
from device.wording import count, named, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device.api_of_record import Contributions, Giver, Receipt


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser(
        "contributions",
        parents=[shared],
        help="show who gave answers and models to whom",
        epilog="Each sum was signed by who received it and by who gave it; two that agree can sign anything, so look "
        "by whom it was received. Nothing can be had for it. The rules: docs/governance.md.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a line for each giver, and under it one for each that received."""
    found = session.run(args, lambda client: client.contributions())
    if args.json:
        print_json(found)
    elif found.givers:
        print_table(("GIVER", "RECEIVED BY", "ANSWERS", "TOKENS", "MODELS"), [*_rows(found)])
    else:
        print_note("The record has no contributions yet: the first come after a day of running.")
    return 0


def _rows(found: "Contributions") -> "Iterator[tuple[str, ...]]":
    for giver in found.givers:
        gone = "" if giver.member else ", no member any more"
        yield (named(giver.name, giver.node_id) + gone, count(len(giver.receivers), "member"), *_figures(giver))
        for one in giver.receivers:
            yield ("", named(one.name, one.node_id), *_figures(one))


def _figures(one: "Giver | Receipt") -> tuple[str, str, str]:
    return str(one.answers), str(one.tokens), size(one.model_bytes)

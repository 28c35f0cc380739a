"""`hearth models`: what is here and what can be had; `pull ls rm` are its short forms."""

import argparse
from typing import TYPE_CHECKING

from device.cli import card, lineage, pull, session
from device.cli.printing import print_facts, print_json, print_table
from device.wording import readiness, short_id, size

if TYPE_CHECKING:
    from device.api import Model, Models


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb, its actions and their short forms to the grammar."""
    parser = verbs.add_parser("models", parents=[shared], help="list, pull, show and remove models; their cards")
    parser.set_defaults(run=run_ls)
    actions = parser.add_subparsers(metavar="ACTION", title="actions")
    _add_ls(actions, shared, "list what is here and what can be pulled (the default)")
    _add_pull(actions, shared, "fetch a model of the catalogue")
    show = actions.add_parser("show", parents=[shared], help="show all about a model that is here")
    show.add_argument("name", metavar="NAME", help="name or digest")
    show.set_defaults(run=run_show)
    card.add(actions, shared)
    lineage.add(actions, shared)
    _add_rm(actions, shared, "remove a model")
    _add_pull(verbs, shared, "= models pull")
    _add_ls(verbs, shared, "= models ls")
    _add_rm(verbs, shared, "= models rm")


def _add_ls(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser, text: str
) -> None:
    parser = actions.add_parser("ls", parents=[shared], help=text)
    parser.set_defaults(run=run_ls)


def _add_pull(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser, text: str
) -> None:
    parser = actions.add_parser("pull", parents=[shared], help=text)
    parser.add_argument("name", metavar="NAME", help="name in the catalogue: see hearth models ls")
    parser.set_defaults(run=pull.run)


def _add_rm(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser, text: str
) -> None:
    parser = actions.add_parser("rm", parents=[shared], help=text)
    parser.add_argument("name", metavar="NAME", help="name or digest")
    parser.set_defaults(run=run_rm)


def run_ls(args: argparse.Namespace) -> int:
    """List the store and the catalogue."""
    models = session.run(args, lambda client: client.models())
    if args.json:
        print_json(models)
    else:
        _print_list(models)
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Show one model."""
    model = session.run(args, lambda client: client.model(args.name))
    if args.json:
        print_json(model)
    else:
        _print_model(model)
    return 0


def run_rm(args: argparse.Namespace) -> int:
    """Remove one model."""
    session.run(args, lambda client: client.remove(args.name))
    print_json({}) if args.json else print(f"Removed {args.name}.")
    return 0


def _print_list(models: "Models") -> None:
    if models.models:
        print_table(
            ("MODEL", "DIGEST", "SIZE", "LICENCE", "STATE"),
            [(m.name, short_id(m.digest), size(m.size_bytes), m.licence, readiness(m)) for m in models.models],
        )
    else:
        print("No model is here yet.")
    absent = [entry for entry in models.catalogue if not entry.present]
    if absent:
        print()
        print_table(
            ("TO PULL", "SIZE", "LICENCE", "WHAT IT IS"),
            [(entry.name, size(entry.size_bytes), entry.licence, entry.description) for entry in absent],
        )


def _print_model(model: "Model") -> None:
    print(model.name)
    print_facts(
        [
            ("digest", model.digest),
            ("size", size(model.size_bytes)),
            ("licence", model.licence),
            ("state", readiness(model) or "here"),
            ("what it is", model.description or "unknown"),
            ("trained on", model.trained_on),
            ("bad at", model.bad_at),
        ]
    )

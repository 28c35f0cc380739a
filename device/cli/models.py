"""`hearth models`: what is here and what can be had; `pull ls rm` are its short forms."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from device.cli import bundles, card, care, lineage, publishing, pull, session
from device.cli.printing import print_facts, print_json, print_table
from device.wording import last_used, short_id, size, state

if TYPE_CHECKING:
    from device.api_of_models import Arriving, Model, Models


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb, its actions and their short forms to the grammar."""
    parser = verbs.add_parser("models", parents=[shared], help="list, pull, carry, keep and describe models")
    parser.set_defaults(run=run_ls)
    actions = parser.add_subparsers(metavar="ACTION", title="actions")
    _add_ls(actions, shared, "list what is here and what can be pulled (the default)")
    _add_pull(actions, shared, "fetch a model of the catalogue")
    show = actions.add_parser("show", parents=[shared], help="show all about a model that is here")
    show.add_argument("name", metavar="NAME", help="name or digest")
    show.set_defaults(run=run_show)
    card.add(actions, shared)
    lineage.add(actions, shared)
    publishing.add(actions, shared)
    _add_rm(actions, shared, "remove a model, or give up one that is on its way")
    _add_bundles(actions, shared)
    _add_care(actions, shared)
    _add_pull(verbs, shared, "= models pull")
    _add_ls(verbs, shared, "= models ls")
    _add_rm(verbs, shared, "= models rm")


def _add_ls(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser, text: str
) -> None:
    parser = actions.add_parser("ls", parents=[shared], help=text)
    parser.add_argument(
        "--mesh", action="store_true", help="list what the nodes in reach hold, and what would fit here"
    )
    parser.set_defaults(run=run_ls)


def _add_pull(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser, text: str
) -> None:
    parser = actions.add_parser("pull", parents=[shared], help=text)
    parser.add_argument("name", metavar="NAME", help="name or digest: see hearth models ls, and ls --mesh")
    parser.add_argument("--anyway", action="store_true", help="even if it will hardly fit this board")
    parser.set_defaults(run=pull.run)


def _add_rm(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser, text: str
) -> None:
    parser = actions.add_parser("rm", parents=[shared], help=text)
    parser.add_argument("name", metavar="NAME", help="name or digest")
    parser.set_defaults(run=run_rm)


def _add_bundles(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser
) -> None:
    export = actions.add_parser("export", parents=[shared], help="write a model to one file, for a stick")
    export.add_argument("name", metavar="NAME", help="name or digest")
    export.add_argument("file", type=Path, metavar="FILE", help="a new file, or a directory for it")
    export.set_defaults(run=bundles.run_export)
    importing = actions.add_parser("import", parents=[shared], help="install a model from such a file")
    importing.add_argument("file", type=Path, metavar="FILE", help="what hearth models export wrote")
    importing.add_argument("--as", dest="called", metavar="NAME", default="", help="call it so here")
    importing.set_defaults(run=bundles.run_import)


def _add_care(actions: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    pin = actions.add_parser("pin", parents=[shared], help="keep a model whatever the quota says")
    pin.add_argument("name", metavar="NAME", help="name or digest")
    pin.set_defaults(run=care.run_pin)
    unpin = actions.add_parser("unpin", parents=[shared], help="let a model make room again")
    unpin.add_argument("name", metavar="NAME", help="name or digest")
    unpin.set_defaults(run=care.run_unpin)
    verify = actions.add_parser("verify", parents=[shared], help="read models again, and find what is damaged")
    verify.add_argument("name", metavar="NAME", nargs="?", default="", help="name or digest; all without one")
    verify.set_defaults(run=care.run_verify)


def run_ls(args: argparse.Namespace) -> int:
    """List the store and the catalogue, or what the mesh holds."""
    if getattr(args, "mesh", False):
        return care.run_mesh(args)
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
    gone = session.run(args, lambda client: client.remove(args.name))
    if args.json:
        print_json(gone)
    elif gone.arriving:
        print(f"The pull of {gone.name} is given up; what had come ({size(gone.size_bytes)}) is deleted.")
    else:
        print(f"Removed {gone.name}.")
    return 0


def _print_list(models: "Models") -> None:
    if models.models:
        print_table(
            ("MODEL", "DIGEST", "SIZE", "LICENCE", "LAST USED", "STATE"),
            [
                (m.name, short_id(m.digest), size(m.size_bytes), m.licence, last_used(m), state(m))
                for m in models.models
            ],
        )
    else:
        print("No model is here yet.")
    if models.arriving:
        print()
        print_table(("ON ITS WAY", "DIGEST", "COMES", "STATE"), [_arriving(one) for one in models.arriving])
    absent = [entry for entry in models.catalogue if not entry.present]
    if absent:
        print()
        print_table(
            ("TO PULL", "SIZE", "LICENCE", "WHAT IT IS"),
            [(entry.name, size(entry.size_bytes), entry.licence, entry.description) for entry in absent],
        )


def _arriving(one: "Arriving") -> tuple[str, str, str, str]:
    come = f"{size(one.bytes_here)} of {size(one.size_bytes)}" if one.size_bytes else ""
    state = f"stopped; to go on: hearth models pull {one.name}" if one.stopped else "coming"
    return one.name, short_id(one.digest), come, state


def _print_model(model: "Model") -> None:
    print(model.name)
    print_facts(
        [
            ("digest", model.digest),
            ("size", size(model.size_bytes)),
            ("licence", model.licence),
            ("state", state(model) or "here"),
            ("last used", last_used(model)),
            ("what it is", model.description or "unknown"),
            ("trained on", model.trained_on),
            ("bad at", model.bad_at),
        ]
    )

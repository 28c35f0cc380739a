"""`hearth models pin`, `unpin`, `verify` and `ls --mesh`: what an owner does for the models, and sees of others'."""

import argparse
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.arriving import ended
from device.cli.printing import print_json, print_note, print_table
from device.wording import count, short_id, size

if TYPE_CHECKING:
    from device.api_of_models import MeshModel, MeshModels, Verified

FAILED = 1
SHOWN_HOLDERS = 3
SHOWN_CHUNKS = 8


def run_pin(args: argparse.Namespace) -> int:
    """Pin one model."""
    model = session.run(args, lambda client: client.pin(args.name))
    print_json(model) if args.json else print(f"{model.name} is pinned: it is kept whatever the quota says.")
    return 0


def run_unpin(args: argparse.Namespace) -> int:
    """Unpin one model."""
    model = session.run(args, lambda client: client.unpin(args.name))
    print_json(model) if args.json else print(f"{model.name} is not pinned: it may make room for another.")
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Verify one model or all."""
    found = session.run(
        args, lambda client: ended(client.verify(args.name), name=args.name or "models", as_json=args.json)
    )
    if args.json:
        print_json({"stage": "done", "verification": found})
    else:
        for model in found.models:
            _print_verified(model)
        if not found.models:
            print("No model is here yet.")
    return 0 if found.sound else FAILED


def _print_verified(model: "Verified") -> None:
    if model.sound:
        print(f"{model.name} is sound.")
        return
    if model.repaired:
        print(f"{model.name} was damaged, and is whole again.")
    else:
        print(
            f"{model.name} is DAMAGED; it was set aside and answers nobody. Repair it: hearth models pull {model.name}"
        )
    for one in model.damage:
        chunks = ", ".join(map(str, one.chunks[:SHOWN_CHUNKS])) + (", ..." if len(one.chunks) > SHOWN_CHUNKS else "")
        where = f": chunks {chunks}" if one.chunks else ""
        print(f"  sha256-{short_id(one.sha256)} of {size(one.size_bytes)}{where}")


def run_mesh(args: argparse.Namespace) -> int:
    """List what the nodes in reach hold."""
    found = session.run(args, lambda client: client.mesh_models())
    if args.json:
        print_json(found)
    else:
        _print_mesh(found)
    return 0


def _print_mesh(found: "MeshModels") -> None:
    if found.models:
        print_table(
            ("MODEL", "DIGEST", "SIZE", "LICENCE", "HELD BY", "HERE", "ON RECORD"),
            [
                (m.name, short_id(m.digest), size(m.size_bytes), m.licence, _holders(m), _here(m), _on_record(m))
                for m in found.models
            ],
        )
    else:
        print("Nobody in reach holds a model.")
    for model in found.models:
        for reason in model.shortfalls:
            print_note(f"{model.name} ({short_id(model.digest)}) {reason}.")
        if not (model.passed_on or model.here):
            print_note(f"{model.name} ({short_id(model.digest)}) is not passed on: its licence, or its owner's card.")
    if not all(model.here for model in found.models):
        print_note("Needs are estimated from sizes; whether a model's kind is supported shows when it is here.")
    if found.left_out:
        print_note(
            f"{count(found.left_out, 'more model')} of the mesh: hearth models ls --mesh lists {len(found.models)}."
        )
    if found.untold:
        print_note(
            f"Neighbours are not told of {count(found.untold, 'model')} of this node: one announcement holds no more."
        )


def _holders(model: "MeshModel") -> str:
    names = [holder.name for holder in model.holders[:SHOWN_HOLDERS]]
    more = model.holder_count - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _on_record(model: "MeshModel") -> str:
    if model.retired:
        return f"retired {model.retired}"
    return f"published by {', '.join(model.published_by[:SHOWN_HOLDERS])}" if model.published_by else ""


def _here(model: "MeshModel") -> str:
    if model.here:
        return "yes"
    return "won't fit" if model.shortfalls else ""

"""`hearth models pull`: fetch a model and show how far it is."""

import argparse
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.arriving import arrived
from device.cli.printing import print_json, print_note
from device.wording import size

if TYPE_CHECKING:
    from device.api_of_models import Model
    from device.client import DaemonClient


def run(args: argparse.Namespace) -> int:
    """Pull; the daemon does the work and says how far it is."""
    model = session.run(args, lambda client: _pull(client, args))
    if not args.json:
        print(f"{model.name} is here ({size(model.size_bytes)}, {model.licence}). Try: hearth run {model.name}")
    return 0


async def _pull(client: "DaemonClient", args: argparse.Namespace) -> "Model":
    await _tell_licence(client, args.name, as_json=args.json)
    return await arrived(client.pull(args.name, anyway=args.anyway), name=args.name, as_json=args.json)


async def _tell_licence(client: "DaemonClient", key: str, *, as_json: bool) -> None:
    """Say under what licence it comes, before its first byte; of what nobody here knows, the pull itself says so."""
    in_catalogue = [one for one in (await client.models()).catalogue if one.name == key]
    in_mesh = [one for one in (await client.mesh_models()).models if one.name == key or one.digest.startswith(key)]
    found = in_catalogue or in_mesh
    if len(found) != 1:
        return
    [one] = found
    if as_json:
        print_json({"stage": "offered", "name": one.name, "size_bytes": one.size_bytes, "licence": one.licence})
    else:
        print_note(f"{one.name}: {size(one.size_bytes)}, licence {one.licence}")

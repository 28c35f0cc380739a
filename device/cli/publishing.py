"""`hearth models publish` and `retire`: what the community's record says of a model."""

import argparse

from device.cli import session
from device.cli.arriving import ended
from device.cli.printing import print_json, print_note
from device.wording import named


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the actions to the grammar."""
    publish = actions.add_parser(
        "publish",
        parents=[shared],
        help="publish a model that is here in the community's record",
        epilog="Only what its card lets be passed on is published (hearth models card NAME); "
        "the rules: docs/governance.md.",
    )
    publish.add_argument("name", metavar="NAME", help="name or digest")
    publish.set_defaults(run=run_publish)
    retire = actions.add_parser(
        "retire",
        parents=[shared],
        help="take a published model back; nothing is deleted",
        epilog="A publisher takes its own word back, a voter everyone's. The rules: docs/governance.md.",
    )
    retire.add_argument("name", metavar="NAME", help="name or digest, of a model that is here or not")
    retire.add_argument("--reason", metavar="TEXT", default="", help="why, for everybody to read")
    retire.set_defaults(run=run_retire)


def run_publish(args: argparse.Namespace) -> int:
    """Publish one model."""
    said = session.run(args, lambda client: ended(client.publish(args.name), name=args.name, as_json=args.json))
    if args.json:
        print_json({"stage": "done", "on_record": said})
    else:
        print(f"{named(said.name, said.digest)} is published by {', '.join(said.published_by)}.")
    return 0


def run_retire(args: argparse.Namespace) -> int:
    """Retire one model."""
    said = session.run(args, lambda client: client.retire(args.name, reason=args.reason))
    if args.json:
        print_json(said)
    elif said.retired:
        print(f"{named(said.name, said.digest)} is retired {said.retired}")
        print_note("It is still here, and at whoever holds it: to delete it here, hearth models rm.")
    else:
        print(f"{named(said.name, said.digest)} is still published by {', '.join(said.published_by)}.")
    return 0

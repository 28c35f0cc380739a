"""`hearth verify`: check an exported record with nothing but the file: no node, no daemon, no network."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.cli.printing import print_facts, print_json, print_note, print_table
from device.wording import count, short_id

if TYPE_CHECKING:
    from mesh.core.record_check import CheckedRecord
    from mesh.errors import RecordRefusedError

READ_BYTES = 64 * 1024


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("verify", parents=[shared], help="check a community's record; needs no daemon")
    parser.add_argument("file", type=Path, metavar="FILE", help="what hearth record wrote")
    parser.add_argument(
        "--after",
        type=Path,
        metavar="OLDER",
        help="and that it goes on from this one, by hearth record --fixed",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check the file, and say what was checked or which entry is at fault."""
    from device.errors import RecordFileError  # noqa: PLC0415  a verb loads what it needs, `--help` nothing
    from mesh.errors import RecordRefusedError  # noqa: PLC0415  as above

    try:
        found = checked(args.file)
        if args.after is not None:
            found.require_after(checked(args.after).checkpoint)
    except RecordRefusedError as error:
        if args.json:
            print_json(_refusal(error))
        raise RecordFileError(f"{args.file}: {error}", hint=error.hint) from error
    fields = _fields(found)
    if args.json:
        print_json(fields)
    else:
        _show(fields)
        if args.after is not None:
            print(f"It goes on from {args.after}: nothing in that has been rewritten.")
    return 0


def checked(path: Path) -> "CheckedRecord":
    """Check a file.  Raises RecordRefusedError, OSError."""
    from mesh.core.record_check import RecordCheck  # noqa: PLC0415  as above

    check = RecordCheck()
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            check.receive(data)
    return check.finish()


def _refusal(error: "RecordRefusedError") -> dict[str, Any]:
    from mesh.core import crypto  # noqa: PLC0415  as above

    author = crypto.node_id(crypto.raw_id(error.author)) if error.author else ""
    return {
        "valid": False,
        "reason": str(error),
        "position": error.position,
        "entry": error.entry_id.hex(),
        "author": author,
    }


def _fields(found: "CheckedRecord") -> dict[str, Any]:
    """What was found, as programs get it."""
    from mesh.core import crypto  # noqa: PLC0415  as above
    from mesh.core.membership import state_hash  # noqa: PLC0415  as above

    def node_id(public: bytes) -> str:
        return crypto.node_id(crypto.raw_id(public))

    membership = found.membership
    members = {one.node_id: one for one in membership.members.values()}
    signers = [node_id(public) for public in found.signers]
    forks = sorted(found.equivocations.values(), key=lambda fork: fork.author)
    return {
        "valid": True,
        "community": crypto.node_id(membership.community),
        "name": membership.name,
        "entries": len(found.history),
        "authors": found.authors,
        "origin": found.checkpoint.origin,
        "root": found.checkpoint.root.hex(),
        "state": state_hash(membership).hex(),
        "members": [
            {"node_id": one.node_id, "name": one.name, "role": one.role, "signed": one.node_id in signers}
            for one in members.values()
        ],
        "other_signers": [one for one in signers if one not in members],
        "forks": [
            {"node_id": node_id(fork.author), "seq": fork.seq, "entries": [one.hex() for one in fork.ids]}
            for fork in forks
        ],
    }


def _show(fields: dict[str, Any]) -> None:
    entries, authors = count(fields["entries"], "entry", "entries"), count(fields["authors"], "author")
    print(f"The record holds: {entries} by {authors}, in one tree.")
    print_facts(
        [
            ("community", fields["name"]),
            ("id", fields["community"]),
            ("tree", fields["root"]),
            ("state", fields["state"]),
        ]
    )
    print()
    rows = [
        (short_id(one["node_id"]), one["name"], one["role"], "signed the tree" if one["signed"] else "")
        for one in fields["members"]
    ]
    print_table(("NODE", "MEMBER", "ROLE", ""), rows)
    for node_id in fields["other_signers"]:
        print(f"{short_id(node_id)} signed the tree too, and is no member now.")
    for fork in fields["forks"]:
        one, other = (entry[:12] for entry in fork["entries"])
        print(f"fork: {short_id(fork['node_id'])} signed two entries for place {fork['seq']}: {one} and {other}")
    print_note("Compare id and tree with somebody you trust: no file can say that it is the right one, or the newest.")

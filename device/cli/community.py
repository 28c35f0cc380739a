"""`hearth community`: who decides, by which rules, and on what; and the paper that replaces a lost board."""

import argparse
import sys
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.printing import confirmed, print_error, print_json, print_note, print_table
from device.wording import fixed, motion_progress, rules, short_id

if TYPE_CHECKING:
    from device.api_of_council import Council, Moved

ANEW = "You found the new one; the others come along if they choose to. Models, name and settings stay."


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb and its actions to the grammar."""
    parser = verbs.add_parser("community", parents=[shared], help="show who decides on what; a voter's paper key")
    parser.set_defaults(run=run_show)
    actions = parser.add_subparsers(metavar="ACTION", title="actions")
    show = actions.add_parser("show", parents=[shared], help="show voters, rules and proposals (the default)")
    show.set_defaults(run=run_show)
    paper = actions.add_parser("paper", parents=[shared], help="make twelve words that replace a lost board")
    paper.set_defaults(run=run_paper)
    recover = actions.add_parser("recover", parents=[shared], help="let this board vote in place of a lost one")
    recover.add_argument("words", nargs="+", metavar="WORD", help="the twelve words of the lost board's paper")
    recover.set_defaults(run=run_recover)
    fork = actions.add_parser("fork", parents=[shared], help="begin the community anew without lost members")
    fork.add_argument("--without", nargs="+", default=[], metavar="NODE", help="whom: its name, or how its id begins")
    fork.add_argument("--yes", action="store_true", help="do not ask")
    fork.set_defaults(run=run_fork)
    choose = actions.add_parser("choose", parents=[shared], help="go along with a member that began it anew")
    choose.add_argument("id", metavar="ID", help="the beginning of its id (hearth community)")
    choose.set_defaults(run=run_choose)


def run_show(args: argparse.Namespace) -> int:
    """Show voters, rules and proposals."""
    found = session.run(args, lambda client: client.council())
    print_json(found) if args.json else _print(found)
    return 0


def run_paper(args: argparse.Namespace) -> int:
    """Show the words, once."""
    paper = session.run(args, lambda client: client.make_paper())
    if args.json:
        print_json(paper)
        return 0
    words = paper.words.split()
    for line in range(0, len(words), 4):
        print("  " + "  ".join(f"{line + place + 1:2} {word:<8}" for place, word in enumerate(words[line : line + 4])))
    print_note("Write them down now: they are kept nowhere. If this board is lost, type them at another member's:")
    print_note("hearth community recover WORDS. Whoever has them can vote for you.")
    return 0


def run_recover(args: argparse.Namespace) -> int:
    """Take over a lost board's vote."""
    words = " ".join(args.words)
    found = session.run(args, lambda client: client.recover(words))
    if args.json:
        print_json(found)
    else:
        print("This board votes now in place of the lost one, which is no member any more.")
    return 0


def run_fork(args: argparse.Namespace) -> int:
    """Begin anew, after asking."""
    if not args.yes and not (sys.stdin.isatty() and confirmed("Leave this community and begin it anew? " + ANEW)):
        print_error("nothing was done", "mean it: hearth community fork --without NODE --yes")
        return 1
    return _moved(args, session.run(args, lambda client: client.fork(args.without)))


def run_choose(args: argparse.Namespace) -> int:
    """Go along."""
    return _moved(args, session.run(args, lambda client: client.choose(args.id)))


def _moved(args: argparse.Namespace, moved: "Moved") -> int:
    if args.json:
        print_json(moved)
        return 0
    print(f"This node belongs to the new community now. The record of the old one is kept in {moved.kept}")
    if args.run is run_fork:
        print_note("The others come along with: hearth community choose (hearth community there shows the id)")
    return 0


def _print(found: "Council") -> None:
    print(f"“{found.community}”: {found.rule}\n{rules(found)}")
    if found.forked:
        print_note(
            "The community is forked: two decisions were signed for one place, which takes dishonest voters."
            " Nothing more is decided; links and answers go on."
        )
    print()
    print_table(
        ("ID", "VOTER", "PAPER", ""),
        [
            (
                short_id(seat.node_id),
                f"{seat.name} (this node)" if seat.this_node else seat.name,
                "yes" if seat.paper else "no",
                "has left" if seat.left else "",
            )
            for seat in found.seats
        ],
    )
    if found.votes and any(seat.this_node and not seat.paper for seat in found.seats):
        print_note("This board's vote dies with it: hearth community paper")
    for new in found.begun:
        print_note(f"{new.by} began it anew with {', '.join(new.members)}: hearth community choose {short_id(new.id)}")
    _print_fixed(found)
    print()
    if found.motions:
        for one in found.motions:
            said = f"; you said {one.answer}" if one.answer else ""
            print(f"{short_id(one.id)}  {one.says}\n          {motion_progress(one, found)}{said}")
        if found.votes:
            print_note("hearth vote PROPOSAL yes|no")
    else:
        print_note("Nothing is proposed.")


def _print_fixed(found: "Council") -> None:
    if found.decided:
        print(f"\n{fixed(found)}: hearth record --fixed FILE")
    if found.fixed.disputed:
        print_note(
            f"{' and '.join(found.fixed.disputed)} signed another record of the same decision: one of you was shown"
            " a false history, or that board lies. Compare in person: hearth community --json, “root”."
        )

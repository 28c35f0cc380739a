"""`hearth status`: this node and its neighbours."""

import argparse
import sys
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.printing import AMBER, BOLD, print_facts, print_json, print_table, styled
from device.wording import count, duration, fingerprint_lines, path, short_id, size

if TYPE_CHECKING:
    from device.api import Neighbour, Status


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("status", parents=[shared], help="show this node and its neighbours")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the status."""
    status = session.run(args, lambda client: client.status())
    if args.json:
        print_json(status)
    else:
        _print(status)
    return 0


def _print(status: "Status") -> None:
    community, queries = status.community, status.queries
    questions = (
        f"{queries.running} running, {queries.waiting} waiting; "
        f"asked {queries.asked} here, answered {queries.answered} for neighbours"
    )
    print(f"{styled(status.name, BOLD, sys.stdout)}, up {duration(status.uptime_s)}")
    for warning in status.warnings:
        print(f"{styled('warning:', AMBER, sys.stdout)} {warning} (hearth doctor)")
    print_facts(
        [
            ("id", status.node_id),
            ("version", status.version),
            ("http", f"{status.http.host}:{status.http.port}"),
            *_https(status),
            ("mesh", f"mqtt {status.mqtt.port} ({status.mqtt.broker}), door {status.door.port}"),
            ("community", f"{community.name}, {count(len(community.members), 'member')}" if community else "none"),
            ("memory", f"{size(status.memory.rss_bytes)} used, {size(status.memory.available_bytes)} available"),
            ("questions", questions),
            *_sharing(status),
            ("models", ", ".join(model.name for model in status.models) or "none here: hearth models ls"),
        ]
    )
    print()
    print_neighbours(status.neighbours)


def _https(status: "Status") -> list[tuple[str, str]]:
    """What a browser must show of the certificate, where HTTPS is wanted."""
    if status.https is None:
        return []
    where = f"port {status.https.port} where the network is open; SHA-256 of its certificate:"
    return [("https", where), *(("", line) for line in fingerprint_lines(status.https.fingerprint))]


def _sharing(status: "Status") -> list[tuple[str, str]]:
    """Who else may ask, who waits, and what the board holds back, as far as there is something to say."""
    guests, queue = status.guests, status.queue
    facts = []
    if guests.open:
        facts.append(("network", f"open to {count(guests.phones, 'phone')} and to whoever has a key (hearth guests)"))
    waiting = [(queue.owner, "yours"), (queue.own, "of programs"), (queue.guest, "of guests")]
    waiting.append((queue.neighbour, "of neighbours"))
    if any(number for number, _ in waiting):
        facts.append(("queue", ", ".join(f"{number} {whose}" for number, whose in waiting if number)))
    if queue.share < 1:
        facts.append(("for others", f"{queue.share:.0%} of the time, because {queue.reason}"))
    return facts


def print_neighbours(neighbours: "tuple[Neighbour, ...]") -> None:
    """Print the table of neighbours, or what to do where there are none."""
    if not neighbours:
        print("No neighbours yet. Pair with one: hearth pair here, hearth join WORDS there.")
        return
    print_table(
        ("ID", "NEIGHBOUR", "STATE", "PATH", "SINCE", "MODELS"),
        [
            (
                short_id(node.node_id),
                node.name,
                node.state,
                path(node.hops),
                duration(node.since_s),
                ", ".join(model.name for model in node.models) or "-",
            )
            for node in neighbours
        ],
    )

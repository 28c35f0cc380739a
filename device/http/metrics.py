"""GET /metrics: this node's numbers in Prometheus' text format, version 0.0.4.

Written by hand: prometheus-client keeps a global registry, hooks itself into the garbage collector when it is imported
and brings a web server along, for what is a loop here.  Its parser is the oracle of the tests.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from device.administration import Administration
from device.core.admission import Standing

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
DROPPED: Final = "dropped_"
STATES: Final = ("linked", "reachable", "connecting", "unreachable", "blocked")


@dataclass(frozen=True)
class Family:
    """One metric: its samples by the value of `label`, or one sample under "" where there is no label."""

    name: str
    kind: Literal["counter", "gauge"]
    about: str
    samples: Mapping[str, float]
    label: str = ""

    def lines(self) -> Iterator[str]:
        """Write it.  Names and labels are our own words, so nothing needs escaping."""
        yield f"# HELP {self.name} {self.about}"
        yield f"# TYPE {self.name} {self.kind}"
        for value, number in self.samples.items():
            labels = f'{{{self.label}="{value}"}}' if self.label else ""
            yield f"{self.name}{labels} {number:.17g}"


def metrics_routes(administration: Administration) -> list[Route]:
    """What a monitoring system reads."""

    async def metrics(_: Request) -> Response:
        lines = (line for family in families(administration) for line in family.lines())
        return Response("".join(f"{line}\n" for line in lines), media_type=CONTENT_TYPE)

    return [Route("/metrics", metrics, methods=["GET"])]


def families(administration: Administration) -> Iterator[Family]:
    """Every metric of a node, as it is now."""
    yield Family("hearth_build_info", "gauge", "The version that runs", {administration.version: 1}, "version")
    yield _gauge("hearth_uptime_seconds", "Since the daemon started", administration.uptime_s)
    yield _gauge("process_resident_memory_bytes", "Of the daemon, without its workers", administration.memory.rss_bytes)
    yield from _of_mesh(administration)
    counts = administration.queries.counts()
    yield _gauge("hearth_queries_running", "Questions in hand, here or for a neighbour", counts.running)
    yield _gauge("hearth_queries_waiting", "Questions that wait for the engine", counts.waiting)
    waiting = administration.queries.turns.waiting
    by_asker = {standing.value: float(waiting[standing]) for standing in Standing}
    yield Family("hearth_queue", "gauge", "Questions that wait for the engine, by who asks", by_asker, "asker")
    share = administration.queries.turns.offering.share
    yield _gauge("hearth_share_for_others", "Part of its time that the board works for guests and neighbours", share)
    yield _gauge("hearth_lan_open", "Whether the API is reachable over the network", administration.guests.is_open)
    yield _gauge("hearth_phones", "Phones that have come with a guests' key", administration.guests.phones)
    sharing = administration.library.sharing_counts()
    yield _gauge("hearth_models_arriving", "Models on their way here from neighbours", sharing.arriving)
    yield _gauge("hearth_neighbours_served", "Neighbours that are being given a model", sharing.served)
    yield _total("hearth_sharing_sent_bytes_total", "Of models, given to neighbours", sharing.bytes_sent)
    yield _total("hearth_sharing_fetched_bytes_total", "Of models, that came and were right", sharing.bytes_fetched)
    yield _total("hearth_queries_asked_total", "Questions of this node's programs", counts.asked)
    yield _total("hearth_queries_answered_total", "Answers given to other nodes", counts.answered)


def _of_mesh(administration: Administration) -> Iterator[Family]:
    neighbours = administration.mesh.neighbours()
    states = Counter(one.state for one in neighbours)
    by_state = {state: states[state] for state in STATES}
    yield Family("hearth_links", "gauge", "Other members, by what the way to them does", by_state, "state")
    reachable = sum(one.reachable for one in neighbours)
    yield _gauge("hearth_nodes_reachable", "Members that messages get to", reachable)
    counted = administration.mesh.counters()
    dropped = {name.removeprefix(DROPPED): number for name, number in counted.items() if name.startswith(DROPPED)}
    yield Family("hearth_dropped_total", "counter", "Frames and messages not acted upon", dropped, "reason")
    for name, number in counted.items():
        if not name.startswith(DROPPED):
            yield _total(f"hearth_{name}_total", f"Of the mesh: {name.replace('_', ' ')}", number)


def _gauge(name: str, about: str, number: float) -> Family:
    return Family(name, "gauge", about, {"": number})


def _total(name: str, about: str, number: float) -> Family:
    return Family(name, "counter", about, {"": number})

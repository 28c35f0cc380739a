"""Routes: the shortest paths over edges that both ends vouch for, and detours that never come back."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core import codec
from mesh.core.routes import (
    LAN_METRIC,
    MAX_ADDRESS_CHARACTERS,
    MAX_ADDRESSES,
    MAX_ADVERT_BYTES,
    MAX_EDGES,
    MAX_HOPS,
    MAX_METRIC,
    LinksAdvert,
    Place,
    RouteTable,
    short_id,
)
from mesh.errors import MalformedError

Said = Mapping[int, Mapping[int, int]]  # by node: what it says its links to others cost

SIZE = 8


def name(number: int) -> bytes:
    """Return the raw id of a node."""
    return number.to_bytes(8, "big") + bytes(24)


def number_of(raw_id: bytes) -> int:
    """Return the node of a raw id."""
    return int.from_bytes(raw_id[:8], "big")


def adverts(said: Said) -> dict[bytes, LinksAdvert]:
    """Write what every node says."""
    return {
        name(one): LinksAdvert({short_id(name(other)): metric for other, metric in its.items()})
        for one, its in said.items()
    }


def table(own: int, said: Said, links: Mapping[int, int] | None = None) -> RouteTable:
    """Make one node's table; its links are what it says, where nothing else is given."""
    made = RouteTable(name(own))
    its = said.get(own, {}) if links is None else links
    made.update({name(other): metric for other, metric in its.items()}, adverts(said))
    return made


def both_ways(edges: Mapping[tuple[int, int], int]) -> Said:
    """Let both ends of each edge say it."""
    said: dict[int, dict[int, int]] = {}
    for (one, two), metric in edges.items():
        said.setdefault(one, {})[two] = metric
        said.setdefault(two, {})[one] = metric
    return said


def shortest(said: Said, source: int) -> dict[int, int]:
    """Cost the paths from a node by relaxing every edge until nothing changes (Bellman and Ford)."""
    cost = {source: 0}
    for _ in range(SIZE):
        for one, its in said.items():
            for two, metric in its.items():
                back = said.get(two, {}).get(one)
                if back is not None and one in cost:
                    cost[two] = min(cost.get(two, 10**9), cost[one] + max(metric, back))
    return cost


NODES = st.integers(0, SIZE - 1)
METRICS = st.integers(1, 5) | st.integers(1, MAX_METRIC)
PAIRS = st.tuples(NODES, NODES).filter(lambda pair: pair[0] < pair[1])
GRAPHS = st.dictionaries(PAIRS, METRICS, max_size=20).map(both_ways)
CLAIMS = st.dictionaries(NODES, st.dictionaries(NODES, METRICS, max_size=SIZE), max_size=SIZE)
UNEVEN = st.tuples(GRAPHS, st.integers(1, 9)).map(  # the ends do not agree what a link costs
    lambda drawn: {
        one: {two: metric + (drawn[1] if one < two else 0) for two, metric in its.items()}
        for one, its in drawn[0].items()
    }
)


@given(GRAPHS | UNEVEN, NODES)
def test_paths_are_the_shortest(said: Said, own: int) -> None:
    """Each cost is a brute force's, and hops and first hop belong to a path of that cost."""
    made, expected = table(own, said), shortest(said, own)
    assert {number_of(node) for node in made.reachable()} == set(expected) - {own}
    assert made.first_hops() == {node: made.next_hop(node) for node in made.reachable()}
    for node in set(range(SIZE)) - {own}:
        assert (made.hops(name(node)) > 0) == (node in expected)
        path = made._from(name(own)).get(name(node))
        assert (path and path.cost) == expected.get(node)
        first = made.next_hop(name(node))
        if first is None:
            assert node not in expected
            continue
        step = max(said[own][number_of(first)], said[number_of(first)][own])
        assert step + shortest(said, number_of(first))[node] == expected[node]


@given(CLAIMS, NODES)
def test_an_edge_counts_only_if_both_ends_say_it(said: Said, own: int) -> None:
    """Whatever anybody claims, also of itself."""
    agreed = {
        one: {two: metric for two, metric in its.items() if two != one and one in said.get(two, {})}
        for one, its in said.items()
    }
    made = table(own, said, agreed.get(own, {}))
    assert {number_of(node) for node in made.reachable()} == set(shortest(agreed, own)) - {own}


@given(GRAPHS, st.integers(0, SIZE - 2), st.dictionaries(NODES, METRICS, max_size=SIZE), NODES)
def test_nobody_is_led_through_a_node_that_does_not_list_it(
    said: Said, liar: int, lies: Mapping[int, int], victim: int
) -> None:
    """A liar that claims a link to everybody at any price changes no path of those who do not list it."""
    honest = {one: dict(its) for one, its in said.items() if one != liar}
    for its in honest.values():
        its.pop(liar, None)
    own = victim if victim != liar else SIZE - 1
    before, after = table(own, honest), table(own, {**honest, liar: lies})
    for node in set(range(SIZE)) - {own}:
        assert after.next_hop(name(node)) == before.next_hop(name(node))
        assert after.hops(name(node)) == before.hops(name(node))


@given(GRAPHS | UNEVEN, NODES, NODES, st.sets(NODES, max_size=3))
def test_frames_arrive_without_coming_back(said: Said, source: int, destination: int, avoided: set[int]) -> None:
    """Node by node over each one's own table, relays send nothing back, and a detour never meets its sender again."""
    tables = {node: table(node, said) for node in range(SIZE)}
    hop = tables[source].next_hop(name(destination), avoiding={name(one) for one in avoided})
    if source == destination or destination not in shortest(said, source):
        assert hop is None
        return
    been = [source]
    while hop is not None and number_of(hop) != destination:
        assert number_of(hop) not in been
        came_from = name(been[-1])
        been.append(number_of(hop))
        hop = tables[been[-1]].next_hop(name(destination), avoiding={came_from})
        assert hop != came_from
    assert hop == name(destination)


def test_a_neighbour_is_avoided_where_another_way_leads_on() -> None:
    """Of two relays the other one is taken; where there is no other, the shortest path after all."""
    diamond = both_ways({(0, 1): LAN_METRIC, (0, 2): 2 * LAN_METRIC, (1, 3): LAN_METRIC, (2, 3): LAN_METRIC})
    made = table(0, diamond)
    assert made.next_hop(name(3)) == name(1)
    assert made.next_hop(name(3), avoiding={name(1)}) == name(2)
    assert made.next_hop(name(3), avoiding={name(1), name(2)}) == name(1)


def test_a_detour_that_would_come_back_is_not_taken() -> None:
    """The other neighbour's own way leads through this node."""
    made = table(0, both_ways({(0, 1): LAN_METRIC, (0, 2): LAN_METRIC, (1, 3): LAN_METRIC}))
    assert made.next_hop(name(3), avoiding={name(1)}) == name(1)


def test_what_a_frame_cannot_reach_is_out_of_reach() -> None:
    """A line longer than the hop limit has ends that do not see each other."""
    line = both_ways({(one, one + 1): LAN_METRIC for one in range(MAX_HOPS + 3)})
    made = table(0, line)
    assert made.hops(name(MAX_HOPS)) == MAX_HOPS
    assert made.hops(name(MAX_HOPS + 1)) == 0
    assert made.next_hop(name(MAX_HOPS + 1)) is None
    assert len(made.reachable()) == MAX_HOPS


def test_a_link_of_the_own_counts_before_the_neighbour_has_said_so() -> None:
    """A session has just shown that it works both ways; what the neighbour says of others counts as ever."""
    said = {1: {2: LAN_METRIC}, 2: {1: LAN_METRIC}}
    made = table(0, said, {1: LAN_METRIC})
    assert made.reachable() == {name(1): 1, name(2): 2}


@given(
    st.dictionaries(st.binary(min_size=8, max_size=8), METRICS, max_size=MAX_EDGES),
    st.none()
    | st.builds(
        Place,
        st.lists(st.text("abc:.%0123456789", max_size=MAX_ADDRESS_CHARACTERS), max_size=MAX_ADDRESSES).map(tuple),
        st.integers(0, 65535),
        st.integers(0, 65535),
    ),
)
def test_adverts_survive_the_wire(edges: dict[bytes, int], place: Place | None) -> None:
    """What was said comes out, within the bound."""
    advert = LinksAdvert(edges, place)
    assert len(advert.to_body()) <= MAX_ADVERT_BYTES
    assert LinksAdvert.parse(advert.to_body()) == advert


def test_an_advert_has_a_most_of_edges_and_addresses() -> None:
    """The dearest edges and the last addresses are left out."""
    many = {bytes([n]) * 8: 1 + n for n in range(MAX_EDGES + 5)}
    place = Place(tuple(f"10.0.0.{n}" for n in range(MAX_ADDRESSES + 1)), 1, 2)
    parsed = LinksAdvert.parse(LinksAdvert(many, place).to_body())
    assert parsed.edges == {bytes([n]) * 8: 1 + n for n in range(MAX_EDGES)}
    assert parsed.place == Place(place.addresses[:MAX_ADDRESSES], 1, 2)


EDGE: codec.Item = [b"n" * 8, 1]
BAD: list[list[codec.Item]] = [
    [],
    [[EDGE]],
    [[EDGE], None, None],
    [[EDGE] * (MAX_EDGES + 1), None],
    [None, None],
    [[[b"short", 1]], None],
    [[[b"n" * 8, 0]], None],
    [[[b"n" * 8, MAX_METRIC + 1]], None],
    [[[b"n" * 8]], None],
    [[], [[], 1]],
    [[], [["a"] * (MAX_ADDRESSES + 1), 1, 1]],
    [[], [["a" * (MAX_ADDRESS_CHARACTERS + 1)], 1, 1]],
    [[], [["\x1b[2J"], 1, 1]],
    [[], [[], 2**16, 1]],
    [[], [[], 1, -1]],
]


@pytest.mark.parametrize("fields", BAD)
def test_adverts_of_another_shape_are_malformed(fields: list[codec.Item]) -> None:
    """Each field has one type and range."""
    with pytest.raises(MalformedError):
        LinksAdvert.parse(codec.encode(fields))


def test_an_advert_has_a_largest_size() -> None:
    """It is not even looked at."""
    with pytest.raises(MalformedError):
        LinksAdvert.parse(bytes(MAX_ADVERT_BYTES + 1))

"""The choice of neighbours: connected, a few hops across, bounded, and steady while nodes come and go."""

import random
from collections import deque
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.crypto import raw_id
from mesh.core.neighbour_choice import ALL_UP_TO, FEW_FROM, MAX_NEIGHBOURS, choose

Links = Mapping[bytes, Sequence[bytes]]
ROUNDS = 12
MANY = [26, 27, 30, 33, 34, 50, 81, 82, 128, 200, 300]


def names(count: int) -> list[bytes]:
    """Make ids, spread as the ids of nodes are."""
    return [raw_id(number.to_bytes(4, "big")) for number in range(count)]


def settled(views: Mapping[bytes, Sequence[bytes]], links: Links) -> Links:
    """Let every node choose, and accept who chose it, until nothing changes; a link needs both ends."""
    for _ in range(ROUNDS):
        asked = {node: list(links.get(node, ())) for node in views}
        for node in views:
            for other in choose(node, views[node], links.get(node, ())):
                if other in views and node not in asked[other]:
                    asked[other].append(node)
        keep = {node: choose(node, views[node], asked[node]) for node in views}
        now = {
            node: sorted(
                (other for other in keep[node] if other in views and node in keep[other]),
                key=lambda other, node=node: (other not in links.get(node, ()), other),  # type: ignore[misc]  # a default binds it
            )
            for node in views
        }
        if {node: set(its) for node, its in now.items()} == {node: set(links.get(node, ())) for node in views}:
            return now
        links = now
    raise AssertionError("the choice does not settle")


def everybody(nodes: Sequence[bytes]) -> dict[bytes, Sequence[bytes]]:
    """Let all see all."""
    return dict.fromkeys(nodes, nodes)


def hops_across(links: Links) -> int:
    """Return the longest of the shortest paths."""
    longest = 0
    for start in links:
        hops = {start: 0}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            for other in links[node]:
                if other not in hops:
                    hops[other] = hops[node] + 1
                    queue.append(other)
        assert len(hops) == len(links), "the graph falls apart"
        longest = max(longest, *hops.values())
    return longest


def edges(links: Links) -> set[frozenset[bytes]]:
    """Return the links, each once."""
    return {frozenset((one, two)) for one, its in links.items() for two in its}


@pytest.mark.parametrize("count", [1, 2, 5, ALL_UP_TO + 1])
def test_few_nodes_are_all_linked(count: int) -> None:
    """Up to 24 others."""
    nodes = names(count)
    links = settled(everybody(nodes), {})
    assert all(set(links[node]) == set(nodes) - {node} for node in nodes)


@pytest.mark.parametrize("count", MANY)
def test_many_nodes_are_a_few_hops_apart(count: int) -> None:
    """Of one view all choose the same links from both ends, so that nobody has more than it chose."""
    nodes = names(count)
    links = settled(everybody(nodes), {})
    assert hops_across(links) <= 7
    assert all(set(links[node]) == choose(node, nodes, ()) for node in nodes)
    assert {len(its) for its in links.values()} == {8 if count > 80 else 6}


@pytest.mark.parametrize("count", [26, 34, 60, 82, 128, 200])
@pytest.mark.parametrize("unseen", [0.02, 0.1])
def test_nodes_that_see_different_others_are_connected_too(count: int, unseen: float) -> None:
    """Each sees all but some of the others, each other ones."""
    rng = random.Random(count)  # noqa: S311  the same in every run
    nodes = names(count)
    views = {node: [other for other in nodes if rng.random() >= unseen] for node in nodes}
    links = settled(views, {})
    assert hops_across(links) <= 8
    assert max(len(its) for its in links.values()) <= (ALL_UP_TO if count <= FEW_FROM + 6 else MAX_NEIGHBOURS)


@pytest.mark.parametrize("count", [26, 27, 34, 81, 150])
def test_one_node_that_goes_and_comes_moves_few_links(count: int) -> None:
    """Its own are replaced; no other is cut but for room, and nothing flaps the second time."""
    rng = random.Random(count)  # noqa: S311  the same in every run
    nodes = names(count)
    links = settled(everybody(nodes), {})
    for turn in range(3):
        gone = rng.choice(nodes)
        others = [node for node in nodes if node != gone]
        without = {node: [one for one in links[node] if one != gone] for node in others}
        closed = settled(everybody(others), without)
        assert not edges(without) - edges(closed)
        if turn or count > ALL_UP_TO + 2:  # the first time 25 are left, these link with all
            assert len(edges(closed) - edges(without)) <= ALL_UP_TO
        links = settled(everybody(nodes), closed)
        assert len(edges(closed) - edges(links)) <= 8
        assert max(len(its) for its in links.values()) <= (ALL_UP_TO if count == ALL_UP_TO + 2 else MAX_NEIGHBOURS)
        assert hops_across(links) <= 7


@given(
    st.integers(1, 90).map(names),
    st.randoms(use_true_random=False),
    st.integers(0, 60),
)
def test_the_choice_is_bounded_and_keeps_whom_it_has(nodes: list[bytes], rng: random.Random, count: int) -> None:
    """It is of those in reach, never the node itself, and who is engaged stays while there is room."""
    own, engaged = nodes[0], rng.sample(nodes, min(count, len(nodes)))
    chosen = choose(own, nodes, [*engaged, b"away"])
    others = set(nodes) - {own}
    assert chosen <= others
    if len(others) <= ALL_UP_TO:
        assert chosen == others
    elif len(others) > FEW_FROM:
        assert len(chosen) <= MAX_NEIGHBOURS
    else:
        assert len(chosen) <= ALL_UP_TO
    kept = [one for one in engaged if one != own]
    assert len(chosen & set(kept)) >= min(len(kept), 4)
    assert choose(own, rng.sample(nodes, len(nodes)), engaged) == choose(own, nodes, engaged)

"""Five voters in a network that falls apart: too few decide nothing, and what they signed counts when it is whole."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mesh.core.ballots import MAKE_OBSERVER, MAKE_VOTER, SHOW_OUT
from mesh.core.voting import TRIES
from tests.mesh_lab.conftest import Measured
from tests.mesh_lab.net import TOOLS, Lab, Trunk
from tests.mesh_lab.nodes import Node, all_linked, living, settle, start_all
from tests.mesh_lab.topologies import part

pytestmark = [pytest.mark.lab, pytest.mark.program("mosquitto", *TOOLS), pytest.mark.timeout(300)]

NAMES = ("anna", "ben", "cleo", "dora", "emil")
QUORUM = 4
AMENDMENTS = 5
Islands = tuple[list[Node], Trunk]


@pytest.fixture
def islands(lab: Lab, tmp_path: Path) -> Iterator[Islands]:
    """Five voters, three on one island and two on the other, all linked; the cable between the islands."""
    machines = [lab.namespace(name) for name in NAMES]
    _, _, trunk = lab.islands(machines[:3], machines[3:])
    nodes = [Node(machine, tmp_path / name) for machine, name in zip(machines, NAMES, strict=True)]
    settle(*nodes)
    with living(*nodes):
        start_all(*nodes)
        all_linked(*nodes)
        for voters in range(1, len(nodes)):
            make_voter(nodes, voters)
        assert {node.ask("agenda")["quorum"] for node in nodes} == {QUORUM}
        yield nodes, trunk


def make_voter(nodes: Sequence[Node], voters: int) -> None:
    """Have the first so many, who vote, make the next one a voter too."""
    founder, *others = nodes[: nodes[0].ask("agenda")["quorum"]]
    proposal = founder.ask("propose", what=MAKE_VOTER, node_id=nodes[voters].node_id)
    for other in others:
        agree(other, proposal)
    for node in nodes:
        node.until(lambda node=node: node.council["voters"] == [*NAMES[: voters + 1]], "told who votes")  # type: ignore[misc]


def agree(node: Node, proposal: str) -> float:
    """Have an owner agree once the proposal has come; return when the node was told so."""
    node.hears_of(proposal)
    return float(node.ask("answer", proposal=proposal, agrees=True))


def decisions(nodes: Sequence[Node]) -> int:
    """How many have been taken, as all of them see it."""
    [number] = {node.council["decisions"] for node in nodes}
    return int(number)


def all_vote(nodes: Sequence[Node], proposal: str) -> None:
    """Have all these owners agree with what the first of them proposed; wait until each has all their votes."""
    for node in nodes[1:]:
        agree(node, proposal)
    for node in nodes:
        node.hears_of(proposal, agreed=len(nodes))


def test_a_decision_is_seen_everywhere_soon_after_the_last_vote(islands: Islands, measured: Measured) -> None:
    """Three votes are everywhere and decide nothing; with the fourth the rules change on all five."""
    nodes, _ = islands
    for turn in range(AMENDMENTS):
        before, invitations = decisions(nodes), 20 + turn
        *first, last, silent = nodes[turn:] + nodes[:turn]
        proposal = first[0].ask("amend", invitations=invitations)
        all_vote(first, proposal)
        for node in (last, silent):
            node.hears_of(proposal, agreed=len(first))
        assert decisions(nodes) == before
        voted = agree(last, proposal)
        seen = max(node.decides(before + 1) for node in (*first, silent))
        measured("five voters: from the last vote to the decision on all others", seen - voted, goal="<= 1")
        last.decides(before + 1)
        assert {node.ask("agenda")["invitations"] for node in nodes} == {invitations}
        assert len({node.council["state"] for node in nodes}) == 1


@pytest.mark.parametrize("late", [False, True], ids=["at once", "when all have tried in vain"])
def test_neither_side_decides_alone_and_both_do_together(islands: Islands, measured: Measured, *, late: bool) -> None:
    """Three and two agree on something else each while they are apart; with one vote more the three have it.

    Nobody locks anything before that; nobody signs two entries for one place; who is removed learns it and is cut off.
    """
    nodes, trunk = islands
    three, two = nodes[:3], nodes[3:]
    anna, _, cleo, dora, emil = nodes
    whole = [*three, dora]
    [state], before = {node.council["state"] for node in nodes}, decisions(nodes)
    part(three, two, trunk)
    removal = anna.ask("propose", what=SHOW_OUT, node_id=emil.node_id, reason="sold with its flat")
    demotion = dora.ask("propose", what=MAKE_OBSERVER, node_id=cleo.node_id)
    for side, proposal in ((three, removal), (two, demotion)):
        all_vote(side, proposal)
        for node in side:
            assert (node.council["motions"], node.council["signed"]) == ({proposal: len(side)}, {"Vote": len(side)})
            assert (node.council["decisions"], node.council["state"]) == (before, state)
    healed = trunk.plug()
    measured("partition of five voters healed: all linked", all_linked(*nodes, within_s=90) - healed, goal="<= 2")
    for node in nodes:
        node.hears_of(removal)
        node.hears_of(demotion)
        assert (node.council["decisions"], node.council["state"]) == (before, state)
    if late:  # each side has tried for its own in as many rounds as it does by itself, and nobody votes any more
        in_vain = {kind: TRIES * len(nodes) for kind in ("Vote", "Lock")}
        for node in nodes:
            node.until(lambda node=node: node.council["signed"] == in_vain, "done with its rounds")  # type: ignore[misc]
            assert (node.council["decisions"], node.council["state"]) == (before, state)
    voted = agree(dora, removal)
    seen = max(node.decides(before + 1) for node in three)
    measured("five voters, after a partition: from the last vote to the decision on the others", seen - voted)
    for node in whole:
        node.decides(before + 1)
        node.until(lambda node=node: node.state_of(emil) is None, "rid of emil")  # type: ignore[misc]
        # What the two wanted is still to be decided on; of who is left only dora votes for it.
        node.hears_of(demotion, agreed=1)
        assert node.view["members"] == node.council["voters"] == ["anna", "ben", "cleo", "dora"]
        assert node.council["motions"] == {demotion: 1}
    assert len({(node.council["state"], node.view["epoch"], node.council["decisions"]) for node in whole}) == 1
    emil.until(lambda: emil.view["members"] == [], "told that it is no member")
    emil.until(lambda: "linked" not in str(emil.view["neighbours"]), "alone")
    all_linked(*whole)
    for one in whole:
        assert one.ask("agenda")["forked"] == []
        for other in whole:
            if other is not one:
                assert one.tells(other, 1).all_heard_once_in_order()

"""What voters decide, as owners see it: two real nodes."""

from pathlib import Path

import pytest

from device.api_of_council import Council
from device.council import CouncilRoom
from device.errors import BadRequestError
from device.record.reading import Readings
from mesh.errors import NotVoterError, UnknownProposalError
from tests.mesh.nodes import Running, paired, running


def room_of(one: Running) -> CouncilRoom:
    """What a node's owner sees of its council."""
    node = one.node
    return CouncilRoom(node.council, node.record.checkpoints, node.fork, Readings(node.record), node.node_id)


async def shown_when(one: Running, proposals: int) -> Council:
    """What the owner sees once so many things can be decided on."""
    await one.until(lambda: len(one.node.council.agenda().motions) == proposals)
    return await room_of(one).shown()


async def test_two_owners_decide(tmp_path: Path) -> None:
    """Each sees who decides, what is proposed and who has yet to say something."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        found = await room_of(anna).shown()
        assert (found.rule, found.votes, found.motions) == ("1 voter, who decides alone", True, ())
        assert room_of(anna).propose("voter", ben.node.node_id, "").decided
        await ben.until(lambda: ben.node.council.agenda().is_voter)
        proposed = room_of(anna).amend({"invitations": 3}, "we are few")
        found = await shown_when(ben, 1)
        assert (found.community, found.rule, found.decided) == ("Anna", "2 voters: all must agree", 1)
        assert [(seat.name, seat.this_node, seat.left) for seat in found.seats] == [
            ("Anna", False, False),
            ("Ben", True, False),
        ]
        [motion] = found.motions
        assert (motion.id, motion.agreed, motion.waiting, motion.seen) == (proposed.id, ("Anna",), ("Ben",), 1)
        assert motion.says.endswith("3 invitations a voter: we are few")
        with pytest.raises(UnknownProposalError):
            await room_of(ben).answer(proposed.id[:3], agrees=True)
        found = await room_of(ben).answer(proposed.id[:8].upper(), agrees=False)
        assert [one.answer for one in found.motions] == ["no"]
        assert [one.waiting for one in (await room_of(ben).answer(proposed.id[:8], agrees=True)).motions] == [()]
        for one in (anna, ben):
            found = await shown_when(one, 0)
            assert (found.motions, found.invitations, found.decided) == ((), 3, 2)
            assert found.invitations_left == (255 if one is anna else 3)
        for changes in ({"margin": 101}, {"notice": 101}, {"invitations": 257}, {"invitations": 3}, {}):
            with pytest.raises(BadRequestError):
                room_of(anna).amend(changes, "")


async def test_a_paper_is_shown_once_and_used_elsewhere(tmp_path: Path) -> None:
    """Where the founder's board is gone, an observer's takes over."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        words = room_of(anna).make_paper().words
        await ben.until(lambda: ben.node.council.agenda().membership.charter.seats[0].recovery is not None)
        assert [(seat.name, seat.paper) for seat in (await room_of(ben).shown()).seats] == [("Anna", True)]
        with pytest.raises(NotVoterError):
            room_of(ben).propose("voter", ben.node.node_id, "")
        found = await room_of(ben).recover(words)
        assert [(seat.name, seat.this_node, seat.left) for seat in found.seats] == [("Ben", True, False)]
        assert [one.name for one in ben.node.council.agenda().membership.members.values()] == ["Ben"]

"""Conversations with the daemon about what the community decides, each a coroutine for a worker, as in `tui.talks`."""

import asyncio
from contextlib import aclosing

from device.client import DaemonClient, DaemonUnreachableError, DeviceError, LogLine
from tui.messages import (
    CouncilArrived,
    CouncilMissing,
    Decided,
    GoAlongRequested,
    PaperMade,
    ProposalRequested,
    VoteRequested,
)
from tui.talks import LOOK_EVERY_S, Tell

RECORD_LINES = 100  # of the record, the newest


async def watch_council(client: DaemonClient, tell: Tell, *, every_s: float = LOOK_EVERY_S) -> None:
    """Tell for ever who decides on what; the record is told when it has grown."""
    told: tuple[str, int] | None = None
    while True:
        try:
            council, community = await client.council(), (await client.status()).community
            known = (community.id, community.entries) if community is not None else None
            if known == told:
                tell(CouncilArrived(council, None, None))
            else:
                tell(CouncilArrived(council, await _record(client), await client.contributions()))
            told = known
        except DaemonUnreachableError:  # the banner says so
            told = None
        except DeviceError as error:
            told = None
            tell(CouncilMissing(str(error), error.hint))
        await asyncio.sleep(every_s)


async def vote(client: DaemonClient, tell: Tell, wanted: VoteRequested) -> None:
    """Say yes or no."""
    try:
        await client.vote(wanted.proposal, agrees=wanted.agrees)
    except DeviceError as error:
        tell(Decided(problem=str(error), hint=error.hint))
    else:
        tell(Decided(done=f"Said {'yes' if wanted.agrees else 'no'}."))


async def propose(client: DaemonClient, tell: Tell, wanted: ProposalRequested) -> None:
    """Propose something about a member, and agree with it."""
    try:
        proposed = await client.propose(wanted.what, wanted.node_id, wanted.reason, {})
    except DeviceError as error:
        tell(Decided(problem=str(error), hint=error.hint))
    else:
        tell(Decided(done="Decided." if proposed.decided else "Proposed: the others have to agree."))


async def go_along(client: DaemonClient, tell: Tell, wanted: GoAlongRequested) -> None:
    """Leave the community for one that was begun anew."""
    try:
        moved = await client.choose(wanted.begun)
    except DeviceError as error:
        tell(Decided(problem=str(error), hint=error.hint))
    else:
        tell(Decided(done=f"This node belongs to the new community now. The old one's record is kept in {moved.kept}"))


async def make_paper(client: DaemonClient, tell: Tell) -> None:
    """Make a recovery key; its words come once."""
    try:
        tell(PaperMade((await client.make_paper()).words))
    except DeviceError as error:
        tell(Decided(problem=str(error), hint=error.hint))


async def _record(client: DaemonClient) -> tuple[LogLine, ...]:
    async with aclosing(client.log(last=RECORD_LINES)) as lines:
        return tuple([line async for line in lines])

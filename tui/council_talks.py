"""Conversations with the daemon about what the community decides, each a coroutine for a worker, as in `tui.talks`."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, contextmanager

from device.client import Council, DaemonClient, DaemonUnreachableError, DeviceError
from tui.messages import (
    CouncilArrived,
    CouncilMissing,
    Decided,
    GiftsArrived,
    GoAlongRequested,
    PaperMade,
    ProposalRequested,
    RecordArrived,
    RecordMissing,
    VoteRequested,
)
from tui.record_window import RECORD_LINES, RecordWindow
from tui.talks import LOOK_EVERY_S, Tell

GATHER_S = 0.2  # lines that come within that are told together


async def watch_council(client: DaemonClient, tell: Tell, *, every_s: float = LOOK_EVERY_S) -> None:
    """Tell for ever who decides on what, and what the record says; a decision orders that anew, so it is read anew."""
    async with asyncio.TaskGroup() as tasks:
        standing: tuple[str, int, int] | None = None
        following: asyncio.Task[None] | None = None
        while True:
            council = await _look(client, tell)
            now = (council.community, council.decided, len(council.forked)) if council else None
            if following is not None and now != standing:
                following.cancel()
                following = None
            if council is not None and following is None:
                following = tasks.create_task(follow_record(client, tell, every_s=every_s), name="record")
            standing = now
            await asyncio.sleep(every_s)


async def follow_record(client: DaemonClient, tell: Tell, *, every_s: float = LOOK_EVERY_S) -> None:
    """Tell for ever the newest of the record; it is fetched once, and then entry by entry as they come."""
    window, grown = RecordWindow(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_tell_growth(window, grown, tell), name="record growth")
        while True:
            window.clear()
            await _fill(client, window, grown, tell)
            await asyncio.sleep(every_s)


async def show_gifts(client: DaemonClient, tell: Tell) -> None:
    """Fetch who gave what to whom."""
    with _refusals(tell):
        tell(GiftsArrived(await client.contributions()))


async def vote(client: DaemonClient, tell: Tell, wanted: VoteRequested) -> None:
    """Say yes or no."""
    with _refusals(tell):
        await client.vote(wanted.proposal, agrees=wanted.agrees)
        tell(Decided(done=f"Said {'yes' if wanted.agrees else 'no'}."))


async def propose(client: DaemonClient, tell: Tell, wanted: ProposalRequested) -> None:
    """Propose something about a member, and agree with it."""
    with _refusals(tell):
        proposed = await client.propose(wanted.what, wanted.node_id, wanted.reason, {})
        tell(Decided(done="Decided." if proposed.decided else "Proposed: the others have to agree."))


async def go_along(client: DaemonClient, tell: Tell, wanted: GoAlongRequested) -> None:
    """Leave the community for one that was begun anew."""
    with _refusals(tell):
        moved = await client.choose(wanted.begun)
        tell(Decided(done=f"This node belongs to the new community now. The old one's record is kept in {moved.kept}"))


async def make_paper(client: DaemonClient, tell: Tell) -> None:
    """Make a recovery key; its words come once."""
    with _refusals(tell):
        tell(PaperMade((await client.make_paper()).words))


@contextmanager
def _refusals(tell: Tell) -> Iterator[None]:
    """Tell why what the person wanted was not done."""
    try:
        yield
    except DeviceError as error:
        tell(Decided(problem=str(error), hint=error.hint))


async def _look(client: DaemonClient, tell: Tell) -> Council | None:
    try:
        council = await client.council()
    except DaemonUnreachableError:  # the banner says so
        return None
    except DeviceError as error:
        tell(CouncilMissing(str(error), error.hint))
        return None
    tell(CouncilArrived(council))
    return council


async def _fill(client: DaemonClient, window: RecordWindow, grown: asyncio.Event, tell: Tell) -> None:
    """Take lines until they end, or until one takes its place among the others."""
    try:
        async with aclosing(client.log(last=RECORD_LINES, follow=True)) as lines:
            async for line in lines:
                if not window.take(line):
                    return
                grown.set()
    except DaemonUnreachableError:  # the banner says so
        return
    except DeviceError as error:
        tell(RecordMissing(str(error)))


async def _tell_growth(window: RecordWindow, grown: asyncio.Event, tell: Tell) -> None:
    while True:
        await grown.wait()
        await asyncio.sleep(GATHER_S)
        grown.clear()
        tell(RecordArrived(window.lines))

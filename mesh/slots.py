"""What is being done about one member: the link with it, or the tries to have one."""

import asyncio
import math
import time
from dataclasses import dataclass, field

from mesh.core.membership import Member
from mesh.links import Link, LinkState


@dataclass(eq=False)
class Slot:
    """What is being done about one member."""

    member: Member
    task: asyncio.Task[None] | None = None
    link: Link | None = None
    since: float = field(default_factory=time.monotonic)
    stirred: asyncio.Event = field(default_factory=asyncio.Event)  # sighted, or its link's state has changed
    trouble: str = ""  # why its door gave no key to its broker
    rekeying_until: float = 0.0  # the link was up, and is being moved to a new epoch key
    asked_at: float = -math.inf  # it wanted a link when there was none
    tried_since: float = 0.0  # without a link
    resting_until: float = 0.0  # it was tried in vain, and others are there
    unwanted_since: float = math.inf  # there is a link, and others were chosen
    let_go_at: float = -math.inf

    @property
    def is_rekeying(self) -> bool:
        """Whether the link is only moving to a new epoch key, which takes milliseconds and need not end an answer."""
        connecting = self.link is not None and self.link.state is LinkState.CONNECTING
        return connecting and time.monotonic() < self.rekeying_until

    @property
    def state(self) -> LinkState:
        """What people are told of it."""
        if self.is_rekeying:
            return LinkState.LINKED
        if self.link is not None:
            return self.link.state
        return LinkState.CONNECTING if self.task is not None else LinkState.UNREACHABLE

    async def stirred_within(self, seconds: float) -> bool:
        """Wait, for so long at most, for news of it; return whether there was any."""
        try:
            async with asyncio.timeout(seconds):
                await self.stirred.wait()
        except TimeoutError:
            return False
        return True

    async def down_for(self, link: Link, seconds: float) -> None:
        """Wait until a link has been down for so long without a break."""
        while True:
            self.stirred.clear()
            if link.state is LinkState.LINKED:
                await self.stirred.wait()
            elif not await self.stirred_within(seconds):
                return

"""Conversations with the daemon, each a coroutine for a worker that tells what it hears.

An error of the daemon is something to show, so each talk tells it; a cancelled talk tells nothing.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing

from device.client import (
    AnswerDelayed,
    AnswerFinished,
    AnswerLoading,
    AnswerPiece,
    AnswerQueued,
    DaemonClient,
    DeviceError,
    Model,
    Pace,
    delay,
)
from tui.messages import (
    AnswerEnded,
    AnswerFailed,
    AnswerMoved,
    AnswerWaits,
    AskRequested,
    DaemonLost,
    News,
    PullEnded,
    PullMoved,
    RemoveEnded,
    StatusArrived,
)

LOOK_EVERY_S = 1.0

Tell = Callable[[News], object]


async def watch(client: DaemonClient, tell: Tell, *, every_s: float = LOOK_EVERY_S) -> None:
    """Tell for ever how the daemon is, or that it does not answer."""
    while True:
        try:
            tell(StatusArrived(await client.status(), await client.models()))
        except DeviceError as error:
            tell(DaemonLost(str(error), error.hint))
        await asyncio.sleep(every_s)


async def pull(client: DaemonClient, tell: Tell, name: str) -> None:
    """Pull a model."""
    pace = Pace()
    try:
        async with aclosing(client.pull(name)) as items:
            async for item in items:
                if not isinstance(item, Model):
                    tell(PullMoved(name, item, pace.rate(item, now=time.monotonic())))
    except DeviceError as error:
        tell(PullEnded(name, str(error), error.hint))
    else:
        tell(PullEnded(name))


async def remove(client: DaemonClient, tell: Tell, name: str) -> None:
    """Remove a model."""
    try:
        await client.remove(name)
    except DeviceError as error:
        tell(RemoveEnded(name, str(error), error.hint))
    else:
        tell(RemoveEnded(name))


async def ask(client: DaemonClient, tell: Tell, wanted: AskRequested) -> None:
    """Ask; cancelling the talk stops the answer wherever it is made."""
    try:
        async with aclosing(client.ask(wanted.conversation, model=wanted.model, node=wanted.node)) as items:
            async for item in items:
                tell(_news_of(item))
    except DeviceError as error:
        tell(AnswerFailed(str(error), error.hint))


def _news_of(item: AnswerPiece | AnswerFinished | AnswerDelayed) -> News:
    match item:
        case AnswerQueued() | AnswerLoading():
            return AnswerWaits(delay(item))
        case AnswerPiece(text=text, answerer=answerer):
            return AnswerMoved(text, answerer)
    return AnswerEnded(item)

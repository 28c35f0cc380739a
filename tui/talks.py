"""Conversations with the daemon, each a coroutine for a worker that posts what it hears.

An error of the daemon is something to show, so each talk posts it; a cancelled talk posts nothing.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing

from textual.message import Message

from device.client import AnswerPiece, DaemonClient, DeviceError, Model, Pace
from tui.messages import (
    AnswerEnded,
    AnswerFailed,
    AnswerMoved,
    AskRequested,
    DaemonLost,
    PullEnded,
    PullMoved,
    RemoveEnded,
    StatusArrived,
)

LOOK_EVERY_S = 1.0

Post = Callable[[Message], object]


async def watch(client: DaemonClient, post: Post, *, every_s: float = LOOK_EVERY_S) -> None:
    """Tell for ever how the daemon is, or that it does not answer."""
    while True:
        try:
            post(StatusArrived(await client.status(), await client.models()))
        except DeviceError as error:
            post(DaemonLost(str(error), error.hint))
        await asyncio.sleep(every_s)


async def pull(client: DaemonClient, post: Post, name: str) -> None:
    """Pull a model."""
    pace = Pace()
    try:
        async with aclosing(client.pull(name)) as items:
            async for item in items:
                if not isinstance(item, Model):
                    post(PullMoved(name, item, pace.rate(item, now=time.monotonic())))
    except DeviceError as error:
        post(PullEnded(name, str(error), error.hint))
    else:
        post(PullEnded(name))


async def remove(client: DaemonClient, post: Post, name: str) -> None:
    """Remove a model."""
    try:
        await client.remove(name)
    except DeviceError as error:
        post(RemoveEnded(name, str(error), error.hint))
    else:
        post(RemoveEnded(name))


async def ask(client: DaemonClient, post: Post, wanted: AskRequested) -> None:
    """Ask; cancelling the talk stops the answer wherever it is made."""
    try:
        async with aclosing(client.ask(wanted.conversation, model=wanted.model, node=wanted.node)) as items:
            async for item in items:
                post(AnswerMoved(item.text, item.answerer) if isinstance(item, AnswerPiece) else AnswerEnded(item))
    except DeviceError as error:
        post(AnswerFailed(str(error), error.hint))

"""Ending an engine's process at a moment that can be told beforehand."""

import os
import signal

from device.node import HearthNode
from tests.models.waiting import until


async def kill_in_mid_answer(node: HearthNode) -> None:
    """Kill the engine's process while it owes whoever reads an answer the next words.

    It is halted first, until all that it had said has been read: an answer that waits for its reader has no turn, and
    goes on with another process as if nothing had been.
    """
    engine, turns = node.administration.library._engine, node.administration.queries.turns
    worker = engine._worker
    assert worker is not None
    os.kill(worker.pid, signal.SIGSTOP)
    await until(lambda: engine.busy and all(not seat._unread and not seat.paused for seat in turns._seats.values()))
    os.kill(worker.pid, signal.SIGKILL)

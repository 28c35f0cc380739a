"""Requests under way: sent as bulk messages, matched with their answers, given up after a while."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from device.core.sharing_messages import Given, Refused, Want, WantChunks
from device.ports import Mesh
from mesh.errors import MeshError

MAX_OPEN: Final = 4096  # far more than are on their way: what never came is forgotten so


@dataclass(eq=False)
class _Open:
    peer: str
    on_answer: Callable[[Given], None]
    answers: int  # still to come


class Requests:
    """What this node has asked for."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._open: OrderedDict[bytes, _Open] = OrderedDict()  # the oldest first

    def send(self, peer: str, want: Want, on_answer: Callable[[Given], None]) -> bytes:
        """Ask; `on_answer` is called with each answer, until there were as many as were asked for, or `forget`.

        Return the request's id.  Raises MeshError; nothing was asked then.
        """
        message_id = self._mesh.post(peer, want.KIND, want.to_body())
        answers = len(want.indexes) if isinstance(want, WantChunks) else 1
        self._open[message_id] = _Open(peer, on_answer, answers)
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return message_id

    def forget(self, message_id: bytes) -> None:
        """Take no answer any more."""
        self._open.pop(message_id, None)

    def arrived(self, peer: str, re: bytes | None, given: Given) -> None:
        """Hand an answer to whoever asked that neighbour for it; what nobody waits for is dropped."""
        found = self._open.get(re or b"")
        if found is not None and re is not None and found.peer == peer:
            found.answers -= 1
            if not found.answers or (isinstance(given, Refused) and given.index is None):
                del self._open[re]
            found.on_answer(given)

    async def ask(self, peer: str, want: Want, *, within_s: float) -> Given | None:
        """Ask and wait; None when no answer came in time, or the request could not be sent."""
        answer: asyncio.Future[Given] = asyncio.get_running_loop().create_future()
        try:
            message_id = self.send(peer, want, lambda given: None if answer.done() else answer.set_result(given))
        except MeshError:
            return None
        try:
            async with asyncio.timeout(within_s):
                return await answer
        except TimeoutError:
            return None
        finally:
            self.forget(message_id)

"""Members beyond the neighbours: end-to-end sessions whose frames relays carry without opening them."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from mesh.channel import Channel, ChannelEvents
from mesh.core import crypto
from mesh.core.envelope import Envelope
from mesh.core.epochs import KeyRing
from mesh.core.frames import Frame, Lane
from mesh.core.lane import Ends
from mesh.counters import Counters

T = TypeVar("T")


class FarPeer:
    """The channels with one far member, one a lane, each kept up from its first use until `close`."""

    def __init__(
        self,
        ends: Ends,
        *,
        tasks: asyncio.TaskGroup,
        keys: Callable[[], KeyRing],
        carry: Callable[[Lane, bytes], None],
        on_envelope: Callable[[Lane, Envelope], None],
        on_session: Callable[[], None],
        counters: Counters,
    ) -> None:
        self.ends = ends
        self._tasks = tasks
        self._keeping: dict[Lane, asyncio.Task[None]] = {}
        self._channels = {
            lane: Channel(
                ends,
                lane,
                keys=keys,
                carry=_on_lane(carry, lane),
                events=ChannelEvents(
                    on_envelope=_on_lane(on_envelope, lane),
                    on_session=on_session,
                    on_state=_nothing,
                    counters=counters,
                ),
                routed=True,
            )
            for lane in Lane
        }

    def send(self, lane: Lane, envelope: Envelope) -> None:
        """Seal a message and send it on its way.  Errors: LinkDownError while there is no session yet."""
        self._used(lane, begin=True).send(envelope)

    def receive(self, frame: Frame) -> None:
        """Take a frame that was addressed to this node."""
        self._used(frame.header.lane, begin=False).receive(frame)

    def keys_changed(self) -> None:
        """Let the channels look at the epoch keys again."""
        for lane in self._keeping:
            self._channels[lane].keys_changed()

    def is_open(self, lane: Lane) -> bool:
        """Whether there is a session to send on."""
        return self._channels[lane].is_open

    def knows(self, frame: Frame) -> bool:
        """Whether a sealed frame belongs to a session that is here; else it asks for a handshake."""
        return self._channels[frame.header.lane].knows(frame)

    def close(self) -> None:
        """Let the sessions go."""
        for task in self._keeping.values():
            task.cancel()
        self._keeping.clear()

    def _used(self, lane: Lane, *, begin: bool) -> Channel:
        channel = self._channels[lane]
        if lane not in self._keeping:
            name = f"{lane.name} to {crypto.node_id(self.ends.remote)[:8]}, far"
            self._keeping[lane] = self._tasks.create_task(channel.run(), name=name)
            channel.way_opened(begin=begin)
        return channel


def _on_lane(call: Callable[[Lane, T], None], lane: Lane) -> Callable[[T], None]:
    return lambda value: call(lane, value)


def _nothing() -> None:
    """Do nothing: nobody watches the state of a far channel."""

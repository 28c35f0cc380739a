"""A few homes of one net, whose nodes, links and engines are made to fail in the middle of an answer."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from device.core.query_messages import Done, Failed, Tokens, parse_message
from mesh.node import Received
from tests.models.waiting import until
from tests.sim.home import Home
from tests.sim.mesh_net import SimulatedNet


@dataclass
class Street:
    """`spark` asks; whoever else is here holds the model."""

    net: SimulatedNet
    homes: dict[str, Home] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Home:
        return self.homes[name]

    def id(self, name: str) -> str:
        """Somebody's node id."""
        return self.homes[name].mesh.node_id

    def name(self, node_id: str) -> str:
        """Whose id it is."""
        return self.net.nodes[node_id].name

    def cut(self, name: str) -> None:
        """Nothing reaches that node any more."""
        for other in self.homes:
            if other != name:
                self.net.cut(self.homes[name].mesh, self.homes[other].mesh)

    def mid_answer(self, name: str, happens: Callable[[], bool]) -> None:
        """Call `happens` with what that node says after its first words; the message is lost if it says so."""
        heard: set[bytes | None] = set()
        others = self.net.lost

        def lost(received: Received) -> bool:
            message = parse_message(received.kind, received.body)
            if self.name(received.peer) != name or not isinstance(message, Tokens | Done | Failed):
                return others(received)
            if received.re in heard:
                return happens()
            if isinstance(message, Tokens) and message.tokens.text:
                heard.add(received.re)
            return False

        self.net.lost = lost

    def cut_in_mid_answer(self, *names: str) -> None:
        """Cut each of these nodes off in the middle of its answer."""

        def cutting(name: str) -> Callable[[], bool]:
            def happens() -> bool:
                self.cut(name)
                return False

            return happens

        for name in names:
            self.mid_answer(name, cutting(name))

    def kill_engine_in_mid_answer(self, *names: str) -> None:
        """Kill each of these nodes' engines in the middle of its answer, as a fault in it would."""

        def killing(name: str) -> Callable[[], bool]:
            killed: list[int] = []

            def happens() -> bool:
                worker = self.homes[name].engine._worker
                if worker is not None and not killed:
                    killed.append(worker.pid)
                    os.kill(worker.pid, signal.SIGKILL)
                return False

            return happens

        for name in names:
            self.mid_answer(name, killing(name))

    async def settled(self) -> bool:
        """Return once nobody works on an answer; False if somebody never stops."""
        await until(lambda: all(home.queries.counts().running == 0 for home in self.homes.values()))
        return True

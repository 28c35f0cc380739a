"""Members on the simulated net, with ledgers and counts on a real disk; each looks at its work when a test says so."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from device.contributions.accounts_file import FILE_NAME, AccountsFile
from device.contributions.exchange import Contributions
from device.core.contribution_accounts import Pace
from device.core.contributions import Contributor, fold_contributions
from mesh.community import CommunityStore
from mesh.core.contributions import Amount, Contribution
from mesh.core.entries import Admit, Entry
from mesh.core.ledger import Ledger
from mesh.core.membership import OBSERVER
from mesh.core.standing import Standing
from mesh.identity import Identity
from mesh.record import Record
from tests.mesh.core.world import Person
from tests.sim.mesh_net import SimulatedMesh, SimulatedNet

PACE = Pace(wait_s=10, min_tokens=100, min_model_bytes=1000, ask_again_s=5)
DAYS_S = 1000.0  # longer than any wait here


class Side:
    """One member.  now_s: its clock, which stands still until a test moves it; on_signed: called when it signs."""

    def __init__(self, net: SimulatedNet, person: Person, folder: Path) -> None:
        folder.mkdir()
        self.person, self.path = person, folder / FILE_NAME
        self.store = CommunityStore(
            folder / "community.db", Identity(person.seed, person.static_secret, person.statement)
        )
        self.mesh = net.nodes[person.statement.node_id] = SimulatedMesh(net, person.statement.node_id, person.name)
        identity = Identity(person.seed, person.static_secret, person.statement)
        self.record = Record(identity, self.store, spread=self._signed, on_change=lambda: None)
        self.others: list[Side] = []
        self.on_signed: Callable[[], None] = lambda: None
        self.now_s = 0.0
        self.starts()

    @property
    def node_id(self) -> str:
        """Its id."""
        return self.mesh.node_id

    def starts(self, disk: bytes | None = None) -> None:
        """Begin anew with what is on the disk, or was when a power cut came; nothing else is left."""
        if disk is not None:
            self.path.write_bytes(disk)
        self.mesh.deafen()
        self.file = AccountsFile(self.path, clock=lambda: self.now_s)
        self.contributions = Contributions(
            mesh=self.mesh, record=self.record, file=self.file, pace=PACE, clock=lambda: self.now_s
        )
        self.contributions.listen()

    def gives(self, other: "Side", amount: Amount, *, arrives: Amount | None = None) -> None:
        """Give something; all of it arrives, if nothing else is said."""
        self.contributions.gave(other.node_id, amount)
        other.contributions.received(self.node_id, amount if arrives is None else arrives)

    def admits(self, other: "Side") -> None:
        """Let somebody in."""
        self.store.sign(Admit(other.person.statement, other.person.name, OBSERVER))

    def said(self) -> list[Contribution]:
        """The contributions on its copy of the record, in order of arrival."""
        return [entry.body for entry in self.record.view().entries if isinstance(entry.body, Contribution)]

    def folded(self) -> tuple[Contributor, ...]:
        """Who gave what, by its copy of the record."""
        view = self.record.view()
        return fold_contributions(view.entries, Standing(view.entries, view.membership))

    def _signed(self, entry: Entry) -> None:
        for other in self.others:
            other.store.take([entry])
        self.on_signed()


@contextmanager
def community(net: SimulatedNet, folder: Path, *people: Person) -> Iterator[list[Side]]:
    """Some in one community, which the first one founded; all are linked to each other, and have run for days."""
    with ExitStack() as stack:
        sides = [Side(net, person, folder / person.name) for person in people]
        for one in sides:
            stack.callback(one.store.close)
        founder, *rest = sides
        founder.store.found("Harbour", founder.person.name)
        for one in rest:
            founder.admits(one)
        for number, one in enumerate(sides):
            one.others = [other for other in sides if other is not one]
            if one is not founder:
                one.store.enter(Ledger.of(founder.record.view().entries), founder.store.keys.current)
            for other in sides[:number]:
                net.link(one.mesh, other.mesh)
        yield sides


async def look(*sides: Side) -> None:
    """Let some look at what there is to do, one after the other; what they send has arrived then."""
    for one in sides:
        await one.contributions.look()
        await asyncio.sleep(0)


async def days_pass(*sides: Side) -> None:
    """Let so much time pass that everything may be claimed."""
    await look(*sides)  # else they would have counted for nobody yet
    for one in sides:
        one.now_s += DAYS_S

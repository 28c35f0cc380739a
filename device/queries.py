"""Questions and answers of this node: its owner's, routed here or to a neighbour, and the neighbours' own.

Where a node cannot go on with an answer, another that holds the same model does.

Every node announces what it holds (Status) to all members, anew whenever it changes.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncGenerator, Callable, Collection
from typing import Final

from device.answering import MAX_FROM_PEER, STILL_AT_IT_S, Answerer
from device.answers import Answer
from device.api import Answerer as AnsweredBy
from device.api import AnswerQueued, QueryCounts
from device.api_of_models import HeldModel, MeshModels
from device.asking import SILENCE_S, Asker
from device.core.access import Caller
from device.core.admission import DEFAULT_BOUNDS, Bounds, Client, Standing, has_room
from device.core.chat_request import ChatRequest
from device.core.failover import AnswerSoFar
from device.core.fitting import Room
from device.core.mesh_catalogue import mesh_catalogue
from device.core.offering import EVERYTHING, Offering
from device.core.query_messages import Cancel, Done, Failed, Query, Queued, Status, Tokens, parse_message
from device.core.routing import AUTO, Candidate, Route, choose_route, choose_successor
from device.drops import Drops
from device.errands import Errands
from device.errors import (
    BusyError,
    DeviceError,
    NeighbourMisbehavedError,
    NodeUnreachableError,
    NoSuchModelError,
    StoppingError,
    UnknownKeyError,
)
from device.library import Library
from device.meter import Meter
from device.ports import GiveAndTake, Mesh
from device.turns import AnswerEvent, Turns
from mesh.errors import MeshError
from mesh.node import Received
from models.core.request import TokensGenerated
from models.errors import ModelsError

NEWS_WITHIN_S: Final = 5.0  # how long a question waits for a neighbour that is just coming up
LAST_WORDS_S: Final = 2.0
CONNECTING: Final = "connecting"

log = logging.getLogger(__name__)


class Queries:
    """Joins mesh and models: `ask` for the owner, everything else by itself once it was started."""

    def __init__(
        self,
        *,
        mesh: Mesh,
        library: Library,
        errands: Errands,
        default_model: str,
        meter: Meter,
        offering: Callable[[], Offering] = lambda: EVERYTHING,
        waiting: Bounds = DEFAULT_BOUNDS,
        silence_s: float = SILENCE_S,
        still_at_it_s: float = STILL_AT_IT_S,
        counts: GiveAndTake | None = None,
    ) -> None:
        """waiting: who may wait for the own engine; twice as many questions are in hand, wherever they are answered.

        counts: what counts the answers that neighbours give this node, and it gives them.
        """
        self._mesh = mesh
        self._library = library
        self._default_model = default_model
        self._errands = errands
        self._asker = Asker(mesh, errands, silence_s=silence_s, counts=counts)
        self._one_ended = asyncio.Event()
        self._turns = Turns(library, offering=offering, bounds=waiting)
        self._in_hand = waiting.doubled()
        self._meter = meter
        self._answerer = Answerer(
            mesh, self._turns, errands, on_end=self._one_ended.set, still_at_it_s=still_at_it_s, counts=counts
        )
        self._told: dict[str, Status] = {}  # what each member announced last
        self._untold = 0  # models of this node for which the last announcement had no room
        self._reachable: set[str] = set()
        self._answers: dict[Answer, Caller] = {}
        self._asked = 0
        self._stopping = False
        self._drops = Drops()
        self._news = asyncio.Event()  # a neighbour's link or models changed

    @property
    def stopping(self) -> bool:
        """Whether the end has been asked for: no more questions are taken."""
        return self._stopping

    def start(self) -> None:
        """Listen to the mesh from now on."""
        self._mesh.on_message(self._on_message)
        self._mesh.on_change(self._on_change)
        self._mesh.on_announcement(self._on_announcement)
        for node_id, body in self._mesh.announcements().items():
            self._on_announcement(node_id, body)
        self._mesh.announce(self._status)
        self._on_change()

    def models_of(self, node_id: str) -> tuple[HeldModel, ...]:
        """What a member last said that it holds."""
        told = self._told.get(node_id)
        return told.models if told else ()

    def mesh_models(self, room: Room) -> MeshModels:
        """Which models the nodes in reach hold, this one too; room: what is left here for another."""
        models, left_out = mesh_catalogue(self._here(), self._candidates(), room=room)
        return MeshModels(models=models, left_out=left_out, untold=self._untold)

    def counts(self) -> QueryCounts:
        """Questions in hand now, and since the start."""
        return QueryCounts(
            running=len(self._answers) + self._answerer.running,
            waiting=self._turns.waiting.total(),
            answered=self._answerer.answered,
            asked=self._asked,
        )

    @property
    def turns(self) -> Turns:
        """The queue in front of the engine."""
        return self._turns

    async def ask(self, chat: ChatRequest, caller: Caller) -> Answer:
        """Choose who answers and begin; the question itself goes out with the first piece that is waited for.

        Raises NoSuchModelError, NodeUnreachableError, NoSuchNodeError, AmbiguousNodeError, BusyError, StoppingError;
        TooManyRequestsError (BudgetUsedUpError) for a caller that has had what it may, UnknownKeyError for one whose
        key has been revoked meanwhile.
        """
        if self._stopping:
            raise StoppingError("the node is stopping; it takes no more questions")
        self._require_room(caller.client)
        route = await self._route(chat)
        self._require_room(caller.client)  # others have come meanwhile
        charge = self._meter.begin(caller, chat.generation)
        so_far = AnswerSoFar(charge.request, _answerer(route))
        events = self._whole(so_far, caller.client, pinned=chat.node != AUTO)

        def closed() -> None:
            charge.settle(answer.tokens)
            del self._answers[answer]
            self._one_ended.set()

        answer = Answer(so_far, events, on_close=closed)
        self._answers[answer] = caller
        self._asked += 1
        return answer

    def _require_room(self, client: Client) -> None:
        if not has_room([caller.client for caller in self._answers.values()], client, self._in_hand):
            message = f"{len(self._answers)} questions are being answered already"
            raise BusyError(message, retry_after_s=self._turns.retry_after_s)

    def models_changed(self) -> None:
        """Tell every member what is here now."""
        self._mesh.announcement_changed()

    def revoked(self, key: str) -> None:
        """End every answer to whoever came with the key of this digest, also those that wait."""
        for answer, caller in tuple(self._answers.items()):
            if caller.key == key:
                answer.stop(UnknownKeyError("the key has been revoked; the answer ends here"))

    async def stop(self, *, grace_s: float) -> None:
        """Take no more questions, give running answers their grace, then end them with StoppingError."""
        self._stopping = True
        self._answerer.refuse_new()
        await self._idle(grace_s)
        for answer in tuple(self._answers):
            answer.stop(StoppingError("the node is stopping; the answer ends here"))
        self._answerer.stop()
        await self._idle(LAST_WORDS_S)

    async def _idle(self, within_s: float) -> None:
        """Return once nothing is in hand, or when the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._answers or self._answerer.running:
                    self._one_ended.clear()
                    await self._one_ended.wait()

    async def _whole(self, so_far: AnswerSoFar, client: Client, *, pinned: bool) -> AsyncGenerator[AnswerEvent, None]:
        """Yield the events of one answer, whichever nodes give it; pinned: none but the one that began."""
        while True:
            try:
                async with contextlib.aclosing(self._given_by(so_far, client)) as events:
                    async for event in events:
                        if isinstance(event, TokensGenerated):
                            so_far.add(event)
                        elif isinstance(event, AnswerQueued) and not so_far.tokens and not so_far.by.local:
                            so_far.begun = False
                        yield event
            except (DeviceError, MeshError, ModelsError) as error:
                so_far.begun = so_far.tokens > 0
                so_far.turn_ended(error)
                if so_far.ends_engines:
                    raise so_far.given_up(error) from error
                if not so_far.may_pass_on(error):
                    raise
                successor = None if pinned else await self._successor(so_far)
                if successor is None:
                    raise so_far.broken_off(error, pinned=pinned) from error
                log.info(
                    "another node goes on with an answer",
                    extra={"peer": successor.node_id, "tokens": so_far.tokens, "reason": str(error)},
                )
                so_far.pass_on(_answerer(successor))
            else:
                return

    def _given_by(self, so_far: AnswerSoFar, client: Client) -> AsyncGenerator[AnswerEvent, None]:
        def begun() -> None:
            so_far.begun = True

        by, request = so_far.by, so_far.rest()
        if by.local:
            return self._turns.generate(client, by.model_digest, request, on_turn=begun)
        begun()  # nobody here sees when its turn over there comes, unless it is told a place in the queue
        # The last of the places that a neighbour has for this node is its owner's, who asks over there in any case.
        most = math.inf if client.standing is Standing.OWNER else MAX_FROM_PEER - 1
        return self._asker.ask(by.node_id, Query(by.model_digest, request), most=most)

    async def _route(self, chat: ChatRequest) -> Route:
        """Choose, and while a neighbour is just coming up, wait a moment for what it holds before saying no."""
        give_up_at = asyncio.get_running_loop().time() + NEWS_WITHIN_S
        while True:
            try:
                return choose_route(
                    model=chat.model,
                    node=chat.node,
                    default_model=self._default_model,
                    here=self._here(),
                    neighbours=self._candidates(),
                )
            except (NoSuchModelError, NodeUnreachableError):
                if not await self._heard_more(give_up_at):
                    raise

    async def _successor(self, so_far: AnswerSoFar) -> Route | None:
        """Choose who goes on, as patiently; every node gets one turn."""
        give_up_at = asyncio.get_running_loop().time() + NEWS_WITHIN_S
        tried = {*so_far.failed, so_far.by.node_id}
        while True:
            digest = so_far.by.model_digest
            route = choose_successor(digest, here=self._here(), neighbours=self._candidates(), without=tried)
            if route is not None or not await self._heard_more(give_up_at, but=tried):
                return route

    def _here(self) -> Candidate:
        return Candidate(node_id=self._mesh.node_id, name=self._mesh.name, models=self._library.held())

    def _candidates(self) -> list[Candidate]:
        return [
            Candidate(
                node_id=one.node_id,
                name=one.name,
                models=self.models_of(one.node_id),
                hops=one.hops,
                running=self._asker.running(one.node_id),
            )
            for one in self._mesh.neighbours()
        ]

    async def _heard_more(self, give_up_at: float, *, but: Collection[str] = ()) -> bool:
        """Wait for news of a neighbour that is just coming up; False when there is none, or no time left."""
        if not self._may_hear_more(but) or asyncio.get_running_loop().time() >= give_up_at:
            return False
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(give_up_at):
                await self._news.wait()
        return True

    def _may_hear_more(self, but: Collection[str]) -> bool:
        return any(
            one.state == CONNECTING or (one.reachable and one.node_id not in self._told)
            for one in self._mesh.neighbours()
            if one.since_s < NEWS_WITHIN_S and one.node_id not in but
        )

    def _on_change(self) -> None:
        """Notice who came into reach or went out of it; whether directly or over others makes no difference."""
        known = {one.node_id: one.reachable for one in self._mesh.neighbours()}
        reachable = {node_id for node_id, is_reachable in known.items() if is_reachable}
        for peer in self._reachable - reachable:
            self._asker.link_down(peer)
            self._answerer.link_down(peer)
        self._reachable = reachable
        for peer in self._told.keys() - known.keys():
            del self._told[peer]
        self._news.set()

    def _on_message(self, received: Received) -> None:
        try:
            message = parse_message(received.kind, received.body)
        except NeighbourMisbehavedError as error:
            self._drops.dropped(received.peer, error)
            return
        match message:
            case Query():
                self._answerer.query(received.peer, received.message_id, message)
            case Cancel() if received.re is not None:
                self._answerer.cancel(received.peer, received.re)
            case Tokens() | Done() | Failed() | Queued():
                self._asker.arrived(received.peer, received.re, message)

    def _status(self) -> bytes:
        status = Status(name=self._mesh.name, models=self._library.held())
        untold, self._untold = self._untold, len(status.models) - len(status.told)
        if self._untold and self._untold != untold:
            told = len(status.told)
            log.warning("an announcement holds no more models", extra={"told": told, "untold": self._untold})
        return status.to_body()

    def _on_announcement(self, node_id: str, body: bytes) -> None:
        try:
            self._told[node_id] = Status.parse(body)
        except NeighbourMisbehavedError as error:
            self._drops.dropped(node_id, error)
        self._news.set()


def _answerer(route: Route) -> AnsweredBy:
    return AnsweredBy(
        node_id=route.node_id,
        node_name=route.node_name,
        model=route.model.name,
        model_digest=route.model.digest,
        local=route.local,
    )

"""The typed client of the daemon: one method a thing to ask, frozen values back, every failure a DeviceError.

It speaks HTTP over the owner's unix socket, so whoever may open the socket is the owner and needs no key.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from urllib.parse import urlencode

from device.answer_stream import AnswerStream, delayed
from device.api import (
    AnswerDelayed,
    Answerer,
    AnswerFinished,
    AnswerLoading,
    AnswerPart,
    AnswerPiece,
    AnswerQueued,
    ApiKey,
    ChatMessage,
    Community,
    Diagnosis,
    Finding,
    GuestAccess,
    Joined,
    Keys,
    Member,
    Memory,
    Nearby,
    Neighbour,
    NewKey,
    Offer,
    Peers,
    Queue,
    Rekeyed,
    Sampling,
    Status,
)
from device.api_of_council import MAX_REASON, Begun, Council, Forgotten, Motion, Moved, Paper, Proposed, Seat
from device.api_of_models import (
    CatalogueEntry,
    Damage,
    HeldModel,
    Holder,
    MeshModel,
    MeshModels,
    Model,
    Models,
    PullProgress,
    Removed,
    Verification,
    Verified,
)
from device.api_of_record import Contributions, Giver, LogLine, OnRecord, Receipt
from device.card_view import ModelCard
from device.connection import DONE, decode, refusal, segment
from device.errors import (
    AnswerBrokenOffError,
    DaemonTimeoutError,
    DaemonUnreachableError,
    DeviceError,
    RequestRefusedError,
    UnexpectedReplyError,
)
from device.models_client import Download, ModelsClient
from device.socket_http import Upload
from device.wording import (
    Pace,
    amount,
    answered_by,
    count,
    delay,
    duration,
    fingerprint_lines,
    fixed,
    motion_progress,
    pull_figures,
    rules,
    share,
    short_id,
    size,
    speed,
    state,
)
from models.core.card import Card
from models.core.lineage import Ancestor

__all__ = [
    "MAX_REASON",
    "AnswerBrokenOffError",
    "AnswerDelayed",
    "AnswerFinished",
    "AnswerLoading",
    "AnswerPart",
    "AnswerPiece",
    "AnswerQueued",
    "Answerer",
    "ApiKey",
    "Begun",
    "CatalogueEntry",
    "ChatMessage",
    "Community",
    "Contributions",
    "Council",
    "DaemonClient",
    "DaemonTimeoutError",
    "DaemonUnreachableError",
    "Damage",
    "DeviceError",
    "Diagnosis",
    "Download",
    "Finding",
    "Forgotten",
    "Giver",
    "GuestAccess",
    "HeldModel",
    "Holder",
    "Joined",
    "Keys",
    "LogLine",
    "Member",
    "Memory",
    "MeshModel",
    "MeshModels",
    "Model",
    "Models",
    "Motion",
    "Moved",
    "Nearby",
    "Neighbour",
    "NewKey",
    "Offer",
    "OnRecord",
    "Pace",
    "Paper",
    "Peers",
    "Proposed",
    "PullProgress",
    "Queue",
    "Receipt",
    "Rekeyed",
    "Removed",
    "RequestRefusedError",
    "Sampling",
    "Seat",
    "Status",
    "UnexpectedReplyError",
    "Upload",
    "Verification",
    "Verified",
    "amount",
    "answered_by",
    "count",
    "delay",
    "duration",
    "fingerprint_lines",
    "fixed",
    "motion_progress",
    "pull_figures",
    "rules",
    "share",
    "short_id",
    "size",
    "speed",
    "state",
]

JOIN_WITHIN_S = 120.0  # Argon2 on a small board, then the search for the right door
DOCTOR_WITHIN_S = 60.0  # it knocks at ports that may not answer


class DaemonClient(ModelsClient):
    """One daemon, reached by its socket; each call is a connection of its own, so nothing needs closing."""

    async def status(self) -> Status:
        """This node now."""
        return self._parse(Status, await self._call("GET", "/api/status"))

    async def peers(self) -> Peers:
        """Neighbours, nodes nearby, members."""
        return self._parse(Peers, await self._call("GET", "/api/peers"))

    async def doctor(self) -> Diagnosis:
        """What keeps neighbours away, and what to do about it."""
        return self._parse(Diagnosis, await self._call("GET", "/api/doctor", within_s=DOCTOR_WITHIN_S))

    async def pair(self) -> Offer:
        """Open an offer to pair, or show the open one; a lone node founds a community by it."""
        return self._parse(Offer, await self._call("POST", "/api/pair", within_s=JOIN_WITHIN_S))

    async def close_offer(self) -> None:
        """Take the open offer back."""
        await self._call("DELETE", "/api/pair")

    async def join(self, words: str, *, at: str | None = None) -> Joined:
        """Take a neighbour's offer by its words or its QR text; `at` is HOST[:PORT] where discovery does not reach."""
        body = {"words": words} if at is None else {"words": words, "at": at}
        return self._parse(Joined, await self._call("POST", "/api/join", body, within_s=JOIN_WITHIN_S))

    async def leave(self) -> None:
        """Leave the community."""
        await self._call("POST", "/api/leave")

    def record(self, *, fixed: bool = False) -> AbstractAsyncContextManager[Download]:
        """Open the community's record as a file that anybody can check; fixed: only what was decided on."""
        return self._download("/api/record?fixed=1" if fixed else "/api/record", what="the record")

    async def rekey(self) -> Rekeyed:
        """Give the node a new identity; it restarts with it."""
        return self._parse(Rekeyed, await self._call("POST", "/api/rekey"))

    async def accept_board(self) -> None:
        """Let the node's identity be used on the board it is on now."""
        await self._call("POST", "/api/board")

    async def forget(self, node_id: str) -> Forgotten:
        """Undo the pairing with a node, or propose that; an unambiguous beginning of its id is enough."""
        return self._parse(Forgotten, await self._call("DELETE", f"/api/peers/{segment(node_id)}"))

    async def council(self) -> Council:
        """Who decides, by which rules, and on what."""
        return self._parse(Council, await self._call("GET", "/api/community"))

    async def propose(self, what: str, node: str, reason: str, rules: Mapping[str, int]) -> Proposed:
        """Propose a "voter", an "observer", to "remove" somebody, or other "rules"."""
        body = {"what": what, "reason": reason, **({"node": node} if node else {}), **rules}
        return self._parse(Proposed, await self._call("POST", "/api/proposals", body))

    async def vote(self, proposal: str, *, agrees: bool) -> Council:
        """Answer a proposal, by the beginning of its id."""
        return self._parse(
            Council, await self._call("POST", f"/api/proposals/{segment(proposal)}/vote", {"agrees": agrees})
        )

    async def make_paper(self) -> Paper:
        """Make a recovery key; its words come once."""
        return self._parse(Paper, await self._call("POST", "/api/community/paper"))

    async def fork(self, without: Sequence[str]) -> Moved:
        """Begin the community anew without these nodes."""
        body = {"without": [*without]}
        return self._parse(Moved, await self._call("POST", "/api/community/fork", body, within_s=JOIN_WITHIN_S))

    async def choose(self, fork: str) -> Moved:
        """Go along with a community that a member began anew, by the beginning of its id."""
        body = {"id": fork}
        return self._parse(Moved, await self._call("POST", "/api/community/choose", body, within_s=JOIN_WITHIN_S))

    async def recover(self, words: str) -> Council:
        """Let this node vote in place of a lost one, by the words of its paper."""
        return self._parse(Council, await self._call("POST", "/api/community/recover", {"words": words}))

    async def block(self, node_id: str) -> None:
        """Cut a node off at once."""
        await self._call("POST", f"/api/peers/{segment(node_id)}/block")

    async def unblock(self, node_id: str) -> None:
        """Let a blocked node in again."""
        await self._call("DELETE", f"/api/peers/{segment(node_id)}/block")

    async def keys(self) -> Keys:
        """Every key that somebody may ask with."""
        return self._parse(Keys, await self._call("GET", "/api/keys"))

    async def add_key(
        self, name: str, *, scopes: Sequence[str] = ("ask",), per_minute: int = 0, per_day: int = 0
    ) -> NewKey:
        """Make a key; its secret is told this once.  per_minute, per_day: questions and tokens, 0 = no limit."""
        body = {"name": name, "scopes": list(scopes), "per_minute": per_minute, "per_day": per_day}
        return self._parse(NewKey, await self._call("POST", "/api/keys", body))

    async def remove_key(self, key: str) -> None:
        """Revoke a key by its name or id."""
        await self._call("DELETE", f"/api/keys/{segment(key)}")

    async def guests(self) -> GuestAccess:
        """Who may ask over the network."""
        return self._parse(GuestAccess, await self._call("GET", "/api/guests"))

    async def open_guests(self, *, per_minute: int | None = None, per_day: int | None = None) -> GuestAccess:
        """Let guests ask over the network; what is None is left to the daemon."""
        body = {"per_minute": per_minute, "per_day": per_day}
        return self._parse(GuestAccess, await self._call("POST", "/api/guests", body))

    async def close_guests(self) -> GuestAccess:
        """Let no guest ask any more."""
        return self._parse(GuestAccess, await self._call("DELETE", "/api/guests"))

    async def card(self, name: str) -> ModelCard:
        """The card of a model here, and whether it is passed on."""
        return ModelCard.from_fields(await self._call("GET", f"/api/models/{segment(name)}/card"))

    async def keep_card(self, name: str, card: Card) -> ModelCard:
        """Make a card the owner's; the model's card is what comes back."""
        return ModelCard.from_fields(await self._call("PUT", f"/api/models/{segment(name)}/card", card.to_fields()))

    async def lineage(self, name: str) -> Ancestor:
        """What a model here was made from, as far as the cards here tell."""
        return self._parse(Ancestor, await self._call("GET", f"/api/models/{segment(name)}/lineage"))

    async def log(
        self, *, kind: str = "", author: str = "", model: str = "", last: int | None = None, follow: bool = False
    ) -> AsyncGenerator[LogLine, None]:
        """Yield the entries of the community's record, the newest last.

        kind, author, model: only those of it; last: no more than so many; follow: go on with those that come, until
        the daemon ends.
        """
        asked = {"kind": kind, "author": author, "model": model, "follow": "1" if follow else ""}
        asked |= {} if last is None else {"last": str(last)}
        query = urlencode({name: value for name, value in asked.items() if value})
        events = self._events("GET", f"/api/log?{query}", None, what="the log")
        async with aclosing(events):
            async for fields in events:
                if fields.get("stage") != DONE:
                    yield self._parse(LogLine, fields.get("entry"))

    async def contributions(self) -> Contributions:
        """Who gave what to whom, by the community's record."""
        return self._parse(Contributions, await self._call("GET", "/api/contributions"))

    def ask(
        self,
        messages: Sequence[ChatMessage],
        *,
        model: str = "default",
        node: str = "auto",
        sampling: Sampling | None = None,
    ) -> AsyncGenerator[AnswerPiece | AnswerFinished | AnswerDelayed, None]:
        """Ask a model; the last item is AnswerFinished.  Closing the iterator stops the answer wherever it is made.

        While the question waits for its turn or its model, that is told as often as it changes.
        """
        said = {"model": model, "messages": [vars(message) for message in messages]}
        return self._answer("/v1/chat/completions", said, node, sampling)

    def complete(
        self, text: str, *, model: str = "default", node: str = "auto", sampling: Sampling | None = None
    ) -> AsyncGenerator[AnswerPiece | AnswerFinished | AnswerDelayed, None]:
        """Have a model go on with a text, in whatever way it was trained to; as `ask` otherwise."""
        return self._answer("/v1/completions", {"model": model, "prompt": text}, node, sampling)

    async def _answer(
        self, path: str, said: Mapping[str, object], node: str, sampling: Sampling | None
    ) -> AsyncGenerator[AnswerPiece | AnswerFinished | AnswerDelayed, None]:
        options = {key: value for key, value in vars(sampling or Sampling()).items() if value is not None}
        streamed = {"stream": True, "stream_options": {"include_usage": True}, "hearthmesh": {"node": node}}
        async with self._stream("POST", path, {**said, **streamed, **options}) as lines:
            answer = AnswerStream()
            async for line in lines:
                if (why := delayed(line)) is not None:
                    yield why
                if not line.startswith(b"data:"):
                    continue
                data = line.removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    break
                fields = decode(data)
                if "error" in fields:
                    raise refusal(fields)
                if piece := answer.feed(fields):
                    yield piece
        yield answer.finish()

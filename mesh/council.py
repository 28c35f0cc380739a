"""This node's part in what voters decide: proposing, answering, and signing whatever is due by then.

What it signs follows from the ledger, from what its owner answered, and from what it has signed itself, all of which is
on the disk; so a power cut at any moment changes nothing.  Until a neighbour has confirmed that nothing of its own is
missing here, as in a backup that was put back, it signs no ballot.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mesh.checkpoints import Checkpoints
from mesh.community import CommunityStore
from mesh.core import crypto
from mesh.core.agenda import Motion, has_quorum_of_votes, own_log
from mesh.core.attestation import Attestation
from mesh.core.ballots import (
    MAKE_OBSERVER,
    MAKE_VOTER,
    REFRESH,
    SHOW_OUT,
    Amendment,
    Commit,
    Lock,
    Proposal,
    Recovery,
    Vote,
)
from mesh.core.entries import Entry, Known, RotateKey, write_entry
from mesh.core.ledger import Ledger
from mesh.core.membership import Member, Membership
from mesh.core.paper import ENTROPY_BYTES, seed_of_paper, write_paper
from mesh.core.voting import next_step
from mesh.errors import (
    FeedBehindError,
    KeyInDisputeError,
    NoCommunityError,
    NotVoterError,
    StorageError,
    UnknownNodeError,
    UnknownProposalError,
    WrongPaperError,
)
from mesh.identity import Identity

log = logging.getLogger(__name__)

TICK_S: Final = 5.0
PATIENCE_S: Final = 60.0  # with voters who have not voted, once enough have
ROUTINE_S: Final = 20.0  # after which others than the first voter propose what no owner asked for
MAX_ACCUSED: Final = 8  # at once; fewer than proposals are kept of one voter, or they would push each other out
# What needs nobody's consent costs voters' feeds all the same, and one voter can see to it that there is always more.
ROUTINES: Final = 8
ROUTINES_WITHIN_S: Final = 8 * 3600.0
IN_DISPUTE: Final = "its key has signed two entries for one place: it is used on two boards, or stolen"


@dataclass(frozen=True)
class Agenda:
    """What this node's owner can look at.

    motions: what can be decided now; answers: what the owner said so far, by proposal; left: the seats whose holders
    have left.
    """

    membership: Membership
    motions: Sequence[Motion]
    answers: dict[bytes, bool]
    left: frozenset[bytes]
    is_voter: bool


class Council:
    """Signs ballots; `act` is called whenever the ledger may have changed, `run` must be running."""

    def __init__(
        self,
        identity: Identity,
        store: CommunityStore,
        checkpoints: Checkpoints,
        *,
        wordlist: Callable[[], Sequence[str]],
        knows_own_feed: Callable[[], bool],
        spread: Callable[[Entry], None],
        on_ledger: Callable[[], None],
    ) -> None:
        """knows_own_feed: whether neighbours confirmed it; spread: called with each entry that is signed."""
        self._identity = identity
        self._store = store
        self._checkpoints = checkpoints
        self._wordlist = wordlist
        self._knows_own_feed = knows_own_feed
        self._spread = spread
        self._on_ledger = on_ledger
        self._acting = False
        self._decided: bytes | None = None
        self._routines = deque[float](maxlen=ROUTINES)  # when this node saw decisions that nobody was asked for
        self._situation = (b"", 0)  # what was decided last, and how many ballots there were on what comes next
        self._since = time.monotonic()  # of the situation

    async def run(self) -> None:
        """Lose patience where time calls for it, and attest what was decided, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.act()
            await self._attest()

    def agenda(self) -> Agenda:
        """Show what can be decided.  Errors: NoCommunityError."""
        ledger, membership = self._require()
        left = frozenset(ledger.epoch().tally.left)
        return Agenda(membership, ledger.motions(), self._store.answers(), left, self._store.is_voter)

    def propose(self, what: str, whom: bytes, reason: str = "") -> Entry:
        """Propose something about a member, by raw id, and agree with it.

        Errors: NotVoterError, UnknownNodeError, KeyInDisputeError, FeedBehindError, BoardChangedError, StorageError.
        """
        _, membership = self._require_voter()
        member = membership.members.get(whom)
        if member is None or what not in {MAKE_VOTER, MAKE_OBSERVER, SHOW_OUT}:
            raise UnknownNodeError("no member has this id")
        return self._proposed(Proposal(what, member.public, reason))

    def amend(self, amendment: Amendment) -> Entry:
        """Propose other rules, and agree with them.  Errors: as `propose`."""
        self._require_voter()
        return self._proposed(amendment)

    def answer(self, proposal: bytes, *, agrees: bool) -> None:
        """Say whether this node's owner agrees with a proposal; what is signed already stays.

        Errors: UnknownProposalError, and as `propose`.
        """
        ledger, _ = self._require_voter()
        if all(motion.id != proposal for motion in ledger.motions()):
            raise UnknownProposalError("nothing of this id can be decided on now")
        self._store.answer(proposal, agrees=agrees)
        self._act(asked=True)

    def make_paper(self) -> str:
        """Register a recovery key, and return its twelve words, which are kept nowhere.  Errors: as `propose`."""
        _, membership = self._require_voter()
        seat = membership.seat_of(self._identity.public)
        if any(one.recovery for one in membership.charter.seats if one.public == seat):
            raise WrongPaperError("this node has a paper already; only that can name another")
        words = write_paper(secrets.token_bytes(ENTROPY_BYTES), self._wordlist())
        self._sign(Recovery(crypto.ed25519_public(seed_of_paper(words, self._wordlist()))))
        self._act(asked=True)
        return words

    def recover(self, words: str) -> Member:
        """Take over the seat that these words stand for; return its holder as it is now.

        Errors: WrongPaperError, NotVoterError where this node votes itself, NoCommunityError, StorageError.
        """
        ledger, membership = self._require()
        seed = seed_of_paper(words, self._wordlist())
        paper = crypto.ed25519_public(seed)
        seat = next((one for one in membership.charter.seats if one.recovery == paper), None)
        if seat is None:
            raise WrongPaperError("no voter of this community has this paper")
        if self._store.is_voter:
            raise NotVoterError("this node votes itself: type the words at a node that does not")
        holder = membership.voters.get(seat.public)
        old = holder.public if holder is not None else seat.key
        body = RotateKey(old, self._identity.statement)
        for entry in self._store.take([write_entry(seed, ledger.community, ledger.next_place(paper), body)]):
            self._spread(entry)
        self._on_ledger()
        return self._require()[1].members[self._identity.raw_id]

    def act(self) -> None:
        """Sign whatever is due; what cannot be signed now is tried again later."""
        self._quietly(self._act)

    def _quietly(self, sign: Callable[[], None]) -> None:
        """Leave for later what cannot be signed now."""
        try:
            sign()
        except FeedBehindError as error:
            log.debug("no ballots now: %s", error)
        except StorageError as error:
            log.error("%s; %s", error, error.hint)  # noqa: TRY400  a message for people; the cause is in it

    def _act(self, *, asked: bool = False) -> None:
        """Sign what is due, one entry after another, each on top of the one before."""
        if self._acting:  # by what the signing of an entry has set off
            return
        self._acting = True
        changed = False
        try:
            while (body := self._due()) is not None:
                self._sign(body)
                changed = True
        finally:
            self._acting = False
        if changed or asked:
            self._on_ledger()

    def _acting_seat(self) -> bytes | None:
        """Return the seat for which this node may sign by itself now."""
        membership = self._store.membership
        seat = membership.seat_of(self._identity.public) if membership is not None else None
        if membership is None or not self._store.may_sign or (self._store.others and not self._knows_own_feed()):
            return None
        return None if membership.rivals or self._identity.raw_id in membership.equivocations else seat

    def _unattested(self) -> bytes | None:
        """Return the id of what was decided last if this node is still to attest the tree then."""
        seat, ledger = self._acting_seat(), self._store.ledger
        if seat is None or ledger is None or any(one == seat for one, _ in ledger.attestations()):
            return None
        _, *decided = ledger.membership().decided
        return decided[-1] if decided else None

    async def _attest(self) -> None:
        """Sign what the last decision fixed, if that is still to be done."""
        if self._unattested() is None:
            return
        try:
            last = await self._checkpoints.latest()
        except NoCommunityError:  # left while it was worked out
            return

        def sign() -> None:
            if last.decided == self._unattested():  # else something has happened meanwhile
                self._sign(Attestation.of(last.decided, last.checkpoint, self._identity.seed))
                self._on_ledger()

        self._quietly(sign)

    def _due(self) -> Vote | Lock | Commit | Proposal | None:
        seat, ledger, membership = self._acting_seat(), self._store.ledger, self._store.membership
        if seat is None or ledger is None or membership is None:
            return None
        self._note_routine(ledger, membership.charter.decided)
        motions, tally = ledger.motions(), ledger.epoch().tally
        patient = self._patient_for((membership.charter.decided, len(ledger.ballots())))
        body = next_step(
            tally,
            own_log(ledger.ballots(), tally, seat),
            approved=self._approved(motions),
            noticed={motion.id for motion in motions if motion.seen >= membership.charter.rules.notice},
            impatient=patient >= PATIENCE_S and has_quorum_of_votes(tally),
        )
        if body is None and (seat == min(membership.voters) or patient >= ROUTINE_S):
            if ledger.needs_refresh and self._may_decide_by_itself and not any(one.is_routine for one in motions):
                return Proposal(REFRESH, self._identity.public, "")
            return _accusation(membership, motions)
        return body

    def _approved(self, motions: Sequence[Motion]) -> list[bytes] | None:
        """Return what the owner agrees with, what most agree with first; None while something waits for an answer."""
        answers = self._store.answers()
        routine = self._may_decide_by_itself
        agreed = [motion for motion in motions if (motion.is_routine and routine) or answers.get(motion.id)]
        if not agreed and any(motion.id not in answers for motion in motions):
            return None
        refused = any(not answers.get(motion.id, True) for motion in motions)
        if not agreed and not refused:
            return None
        return [motion.id for motion in sorted(agreed, key=lambda one: (-len(one.agreed), one.id))]

    def _note_routine(self, ledger: Ledger, decided: bytes) -> None:
        """Remember when this node saw a decision that nobody was asked for."""
        before, self._decided = self._decided, decided
        body = ledger[decided].body
        if before is not None and before != decided and isinstance(body, Proposal) and body.what == REFRESH:
            self._routines.append(time.monotonic())

    @property
    def _may_decide_by_itself(self) -> bool:
        full = len(self._routines) == ROUTINES
        return not full or time.monotonic() - self._routines[0] >= ROUTINES_WITHIN_S

    def _patient_for(self, situation: tuple[bytes, int]) -> float:
        """Say for how long nothing has been signed on what is open."""
        if situation != self._situation:
            self._situation, self._since = situation, time.monotonic()
        return time.monotonic() - self._since

    def _proposed(self, body: Proposal | Amendment) -> Entry:
        entry = self._sign(body)
        self._store.answer(entry.id, agrees=True)
        self._act(asked=True)
        return entry

    def _sign(self, body: Known) -> Entry:
        entry = self._store.sign(body)
        self._spread(entry)
        return entry

    def _require(self) -> tuple[Ledger, Membership]:
        ledger, membership = self._store.ledger, self._store.membership
        if ledger is None or membership is None:
            raise NoCommunityError("this node belongs to no community")
        return ledger, membership

    def _require_voter(self) -> tuple[Ledger, Membership]:
        ledger, membership = self._require()
        if not self._store.is_voter:
            raise NotVoterError("this node does not vote")
        if self._identity.raw_id in membership.equivocations:
            raise KeyInDisputeError("this node's key has signed two entries for one place of the ledger")
        self._store.require_signing()
        return ledger, membership


def _accusation(membership: Membership, motions: Sequence[Motion]) -> Proposal | None:
    """Say who is to be shown out because its key is proven to be in two hands, if nobody says so yet.

    What becomes of it is for the owners to answer.
    """
    bodies = (motion.entry.body for motion in motions)
    named = {body.public for body in bodies if isinstance(body, Proposal) and body.what == SHOW_OUT}
    accused = sorted({proof.author for proof in membership.equivocations.values()} - named)
    return Proposal(SHOW_OUT, accused[0], IN_DISPUTE) if accused and len(named) < MAX_ACCUSED else None

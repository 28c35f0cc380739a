"""The commonest change of a membership, worked out from what it was: a voter lets in somebody nobody has heard of.

A fold lists all members anew; of thousands that takes 30 ms on a small computer, and a community that grows does it
each time.  The fold defines what comes of this (roll.py); whatever is not plain is left to it.
"""

from collections.abc import Container
from dataclasses import replace

from mesh.core import crypto
from mesh.core.acts import Acts
from mesh.core.entries import Admit, Entry
from mesh.core.membership import OBSERVER, Member, Membership, Term


def inviting_term(
    folded: Membership, entry: Entry, admit: Admit, acts: Acts, disputed: Container[bytes]
) -> Term | None:
    """Return the term in which an admission lets a newcomer in, if all that is needed to tell is in `folded`.

    disputed: the keys against which there are proofs.
    """
    key, subject = entry.author, admit.subject.public
    terms = [term for term in folded.terms if key in term.keys]
    plain = len(terms) == 1 and terms[0].keys == {key} and not acts.mentions(key) and key not in disputed
    may = plain and terms[0].until is None and folded.votes(key) and folded.invitations.get(key, 0) > 0
    known = subject in folded.admitted or acts.mentions(subject) or subject in disputed
    named = any(subject in term.keys for term in folded.terms) or any(
        subject == one.public for one in folded.expulsions
    )
    is_new = admit.role == OBSERVER and not known and not named and crypto.raw_id(subject) not in folded.members
    return terms[0] if may and is_new else None


def with_newcomer(folded: Membership, entry: Entry, admit: Admit) -> Membership:
    """Add whom a voter lets in, by the last of its admissions."""
    subject, inviter = admit.subject, entry.author
    member = Member(subject.raw_id, subject.public, subject.static, admit.node_name, OBSERVER)
    return replace(
        folded,
        members={**folded.members, member.raw_id: member},
        invitations={**folded.invitations, inviter: folded.invitations[inviter] - 1},
        inviters={**folded.inviters, member.raw_id: frozenset({inviter})},
        admitted={**folded.admitted, subject.public: (entry.id,)},
    )

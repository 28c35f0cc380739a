"""The record's entries as people read them, and which of them somebody asks for."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from device.api_of_record import LogLine, OnRecord
from device.core.governance import PublishedModel
from device.wording import amount, count, named, short_id
from mesh.core import ballots, crypto
from mesh.core.attestation import Attestation
from mesh.core.ballots import Amendment, Ballot, Commit, Lock, Proposal, Recovery, Vote
from mesh.core.community_fork import Fork
from mesh.core.contributions import Contribution
from mesh.core.entries import Admit, Entry, Genesis, PublishModel, Remove, RetireModel, RotateKey, Unknown
from mesh.core.standing import Standing
from models.core.licences import UNKNOWN

_NO_QUOTES: Final = dict.fromkeys(map(ord, '“”„"'), "'")
MIN_PREFIX: Final = 4  # of an id or a digest; what is shorter is a name


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which entries are asked for; "" asks for all.

    kind: as it stands in the entry; author: a name, or how a node id begins; model: a name, or how a digest begins.
    """

    kind: str = ""
    author: str = ""
    model: str = ""


class Scribe:
    """Writes a record's entries down.  models: as the record has them, by digest."""

    def __init__(self, standing: Standing, models: Mapping[bytes, PublishedModel]) -> None:
        self._standing = standing
        self._models = models

    def wanted(self, numbered: Iterable[tuple[int, Entry]], asked: Wanted) -> Iterator[tuple[int, Entry]]:
        """Pick those that are asked for; a model goes by every name that somebody has published it under so far."""
        called = {digest for digest, model in self._models.items() if _is_called(model, asked.model)}
        for number, entry in numbered:
            body = entry.body
            if isinstance(body, PublishModel) and body.name == asked.model:
                called.add(body.digest)
            if self._is_wanted(entry, asked, called):
                yield number, entry

    def line(self, number: int, entry: Entry) -> LogLine:
        """Write an entry down."""
        return LogLine(
            number=number,
            id=entry.id.hex(),
            kind=entry.kind,
            node_id=_node_id(entry.author),
            name=self._standing.name_of(entry.author),
            seq=entry.seq,
            says=f"{self.person(entry.author)} {self._said(entry)}",
            model=_model_in(entry).hex(),
            counts=self._standing.counts(entry),
        )

    def person(self, key: bytes) -> str:
        """Return who somebody is, as people see it."""
        node_id = _node_id(key)
        name = self._standing.name_of(key)
        return _named(name, node_id) if name else f"node {short_id(node_id)}"

    def on_record(self, model: PublishedModel, present: frozenset[bytes]) -> OnRecord:
        """Say what became of a model; `present`: the keys that members use now."""
        by = [self._member(one.publisher, present) for one in model.publications]
        retired = ""
        if model.retirement is not None:
            retired = _because(f"by {self._member(model.retirement.by, present)}", model.retirement.reason)
        licence = model.publications[0].licence
        return OnRecord(
            name=model.name, digest=model.digest.hex(), licence=licence, published_by=tuple(by), retired=retired
        )

    def _member(self, key: bytes, present: frozenset[bytes]) -> str:
        gone = present.isdisjoint(self._standing.keys_from(key))
        return f"{self.person(key)}, no member any more" if gone else self.person(key)

    def _is_wanted(self, entry: Entry, asked: Wanted, called: set[bytes]) -> bool:
        digest, name = _model_in(entry), self._standing.name_of(entry.author)
        by = asked.author in ("", name) or _begins(_node_id(entry.author), asked.author)
        about = not asked.model or digest in called or _begins(digest.hex(), asked.model)
        return asked.kind in ("", entry.kind) and by and about

    def _said(self, entry: Entry) -> str:
        match entry.body:
            case Genesis(name=name):
                return f"founded the community {_quoted(name)}"
            case Admit(subject=subject, node_name=name, role=role):
                return f"let {_named(name, crypto.node_id(subject.raw_id))} in as {_article(role)} {role}"
            case Remove(public=public) if public == entry.author:
                return "left the community"
            case Remove(public=public, reason=reason):
                return _because(f"removed {self.person(public)}", reason)
            case RotateKey(old=old, new=new):
                node = f"node {short_id(crypto.node_id(new.raw_id))}"
                return _goes_on(node) if old == entry.author else f"gives {node} the place of {self.person(old)}"
            case body:
                return self._said_else(body)

    def _said_else(
        self, body: PublishModel | RetireModel | Contribution | Attestation | Fork | Ballot | Unknown
    ) -> str:
        match body:
            case PublishModel(digest=digest, name=name, licence=licence):
                return f"published {_named(name, digest.hex())}, licence {licence or UNKNOWN}"
            case RetireModel(digest=digest, reason=reason):
                return _because(f"retired {self._model(digest)}", reason)
            case Contribution(giver=giver, period=period, amount=much):
                said = amount(much.answers, much.tokens, much.model_bytes)
                return f"received {said} from {self.person(giver)}, period {period}"
            case Fork(entries=entries):
                return f"begins the community anew, with {count(len(entries) - 1, 'other member')}"
            case Unknown(kind=kind):
                return f"signed an entry of kind {_quoted(kind)}, which this version does not know"
            case said:
                return self._voted(said)

    def _voted(self, said: Ballot | Attestation) -> str:
        match said:
            case Proposal() | Amendment():
                return _because(f"proposes {self._proposed(said)}", said.reason)
            case Recovery():
                return "has a paper with a recovery key from now on"
            case Vote(slot=slot, round=number, value=value):
                return f"votes on decision {slot.number}, round {number}, for {_value(value)}"
            case Lock(slot=slot, round=number, value=value):
                return f"is bound on decision {slot.number}, round {number}, to {_value(value)}"
            case Commit(slot=slot, value=value):
                return f"writes down that decision {slot.number} is {_value(value)}"
        return f"signs the tree of {count(said.size, 'entry', 'entries')} up to {_value(said.decided)}"

    def _proposed(self, said: Proposal | Amendment) -> str:
        if isinstance(said, Amendment):
            return f"other rules: {_rules(said)}"
        whom = self.person(said.public)
        match said.what:
            case ballots.MAKE_VOTER:
                return f"to make {whom} a voter"
            case ballots.MAKE_OBSERVER:
                return f"to make {whom} an observer"
            case ballots.SHOW_OUT:
                return f"to remove {whom}"
            case ballots.REFRESH:
                return "to take up new keys of voters and who of them left, and to fix what was signed so far"
        return f"to {_quoted(said.what)} {whom}"

    def _model(self, digest: bytes) -> str:
        model = self._models.get(digest)
        return _named(model.name, digest.hex()) if model else f"model {short_id(digest.hex())}"


def _value(value: bytes | None) -> str:
    return "none of them" if value is None else f"proposal {short_id(value.hex())}"


def _goes_on(node: str) -> str:
    return f"goes on under a new key, as {node}"


def _rules(rules: Amendment) -> str:
    notice = f"seen by {count(rules.notice, 'voter')} first, " if rules.notice else ""
    return f"{rules.margin} more than two thirds decide, {notice}{count(rules.invitations, 'invitation')} a voter"


def _model_in(entry: Entry) -> bytes:
    """The digest of the model that an entry is about."""
    body = entry.body
    return body.digest if isinstance(body, PublishModel | RetireModel) else b""


def _node_id(key: bytes) -> str:
    return crypto.node_id(crypto.raw_id(key))


def _named(name: str, full_id: str) -> str:
    return named(_quoted(name), full_id)


def _quoted(name: str) -> str:
    """Quote a name that is more than a word: it could pass for part of the sentence."""
    if all(character.isalnum() or character in "-_." for character in name):
        return name
    return f"“{name.translate(_NO_QUOTES)}”"


def _because(what: str, reason: str) -> str:
    return f"{what}: {reason}" if reason else what


def _article(noun: str) -> str:
    return "an" if noun[:1] in "aeiou" else "a"


def _is_called(model: PublishedModel, name: str) -> bool:
    return any(one.name == name for one in model.publications)


def _begins(full: str, key: str) -> bool:
    return len(key) >= MIN_PREFIX and full.startswith(key)

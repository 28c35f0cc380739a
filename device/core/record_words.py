"""A community's record in words: what each entry says, and who says it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from device.wording import named, short_id
from mesh.core import crypto
from mesh.core.ballots import Ballot, Lock, Proposal, Vote
from mesh.core.entries import Admit, Entry, Genesis, Remove, RotateKey, Unknown
from mesh.core.tree_order import key_let_in_by

VALUE_DIGITS = 12


@dataclass(frozen=True)
class RecordLine:
    """One entry.  entry: its id, in hexadecimal; author: a node id, with the name it had by then, if it had one."""

    number: int
    entry: str
    author: str
    name: str
    kind: str
    says: str


def in_words(history: Iterable[Entry]) -> Iterator[RecordLine]:
    """Say what entries say, which come in the order of the record."""
    names: dict[bytes, str] = {}
    for number, entry in enumerate(history):
        key, body = key_let_in_by(entry), entry.body
        if key is not None:
            names[key] = body.node_name if isinstance(body, Admit | Genesis) else names.get(entry.author, "")
        yield RecordLine(
            number=number,
            entry=entry.id.hex(),
            author=crypto.node_id(crypto.raw_id(entry.author)),
            name=names.get(entry.author, ""),
            kind=body.kind if isinstance(body, Unknown) else body.KIND,
            says=_says(entry, names),
        )


def _says(entry: Entry, names: Mapping[bytes, str]) -> str:
    match entry.body:
        case Genesis(name=name):
            says = f"founded the community {name}"
        case Admit(subject=subject, node_name=name, role=role):
            says = f"let {named(name, subject.node_id)} in, as {role}"
        case Remove(public=public, reason=reason) if public == entry.author:
            says = f"left{_because(reason if reason != 'left' else '')}"
        case Remove(public=public, reason=reason):
            says = f"removed {_whom(public, names)}{_because(reason)}"
        case RotateKey(new=new):
            says = f"goes on under another key, as {short_id(new.node_id)}"
        case Unknown():
            says = "something of a kind that this version does not know"
        case ballot:
            says = _voted(ballot, names)
    return says


def _voted(ballot: Ballot, names: Mapping[bytes, str]) -> str:
    match ballot:
        case Proposal(what=what, public=public, reason=reason):
            return f"proposes to {what} {_whom(public, names)}{_because(reason)}"
        case Vote(slot=slot, round=count, value=value):
            return f"votes on {slot.series} {slot.number}, round {count}, for {_value(value)}"
        case Lock(slot=slot, round=count, value=value):
            return f"is bound on {slot.series} {slot.number}, round {count}, to {_value(value)}"
        case commit:
            slot = commit.slot
            return f"writes down that {slot.series} {slot.number} is decided: {_value(commit.value)}"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _whom(public: bytes, names: Mapping[bytes, str]) -> str:
    node_id = crypto.node_id(crypto.raw_id(public))
    return named(names[public], node_id) if public in names else short_id(node_id)


def _value(value: bytes | None) -> str:
    return "none of them" if value is None else value.hex()[:VALUE_DIGITS]

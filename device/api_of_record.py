"""What the daemon answers about the community's record: its entries, what it says of models, and who gave what."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """An entry of the record.

    number: its place in the record, from 0; id: of the entry; node_id, name: whose it is, the name "" where nobody was
    let in under that key; seq: its number among the author's; says: what it says in plain words, a whole sentence;
    model: the digest of the model it is about; counts: False where it claims what its author has no say in.
    """

    number: int
    id: str
    kind: str
    node_id: str
    name: str
    seq: int
    says: str
    model: str = ""
    counts: bool = True


@dataclass(frozen=True, kw_only=True)
class LogEnd:
    """All has been told that was asked for.  entries: how many the record has, told or not."""

    entries: int


@dataclass(frozen=True, kw_only=True)
class OnRecord:
    """What the record says of a model.

    published_by: by whose word it is published, or was, as people see them; retired: by whom it was taken back, and
    why, "" while it is published.
    """

    name: str
    digest: str
    licence: str
    published_by: tuple[str, ...]
    retired: str = ""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What one member says that another gave it: answers, their tokens, bytes of models."""

    node_id: str
    name: str
    answers: int
    tokens: int
    model_bytes: int


@dataclass(frozen=True, kw_only=True)
class Giver:
    """What a member gave, to all together and to each.  member: whether it still is one."""

    node_id: str
    name: str
    member: bool
    answers: int
    tokens: int
    model_bytes: int
    receivers: tuple[Receipt, ...]


@dataclass(frozen=True, kw_only=True)
class Contributions:
    """Who gave what, by the record: whoever gave to most first."""

    givers: tuple[Giver, ...]

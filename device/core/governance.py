"""Which models the community has published and retired: a total, pure function of the set of the record's entries.

The rules in plain words: docs/governance.md.  Models are told apart by digest; a name is what a publisher calls one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mesh.core.entries import Entry, PublishModel, RetireModel
from mesh.core.standing import Standing


@dataclass(frozen=True, kw_only=True)
class Publication:
    """One member's word for a model.  publisher: the public key that signed it; release: SHA-256 of the release."""

    publisher: bytes
    name: str
    licence: str
    release: bytes


@dataclass(frozen=True, kw_only=True)
class Retirement:
    """One member's word against a model.  by: the public key that signed it; of_voter: whether for everyone."""

    by: bytes
    reason: str
    of_voter: bool


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """What became of a model that was published.

    publications: those that stand, or, where none does, those that were taken back; retirement: what took the last of
    them back, None while one stands.
    """

    digest: bytes
    publications: tuple[Publication, ...]
    retirement: Retirement | None = None

    @property
    def name(self) -> str:
        """What it is called, by the first publication."""
        return self.publications[0].name


def fold_models(entries: Iterable[Entry], standing: Standing) -> Mapping[bytes, PublishedModel]:
    """Fold a ledger's entries into its models, by digest; `standing` says whose word counts."""
    said: dict[bytes, tuple[list[tuple[Entry, PublishModel]], list[tuple[Entry, RetireModel]]]] = {}
    for entry in sorted({e.id: e for e in entries}.values(), key=lambda entry: entry.id):
        match entry.body:
            case PublishModel(digest=digest) as body if standing.counts(entry):
                said.setdefault(digest, ([], []))[0].append((entry, body))
            case RetireModel(digest=digest) as retired if standing.counts(entry):
                said.setdefault(digest, ([], []))[1].append((entry, retired))
    return {
        digest: _model(digest, publications, retirements, standing)
        for digest, (publications, retirements) in sorted(said.items())
        if publications
    }


def may_retire(key: bytes, model: PublishedModel, standing: Standing) -> bool:
    """Whether a retirement signed with this key would take something back: its owner's own word, or a voter's say."""
    return standing.votes(key) or any(standing.goes_on_from(key, one.publisher) for one in model.publications)


def may_publish(key: bytes, model: PublishedModel | None, standing: Standing) -> bool:
    """Whether a publication signed with this key would stand: what a voter retired, a voter publishes again."""
    retirement = model.retirement if model else None
    return retirement is None or standing.votes(key) or not retirement.of_voter


def _model(
    digest: bytes,
    publications: list[tuple[Entry, PublishModel]],
    retirements: list[tuple[Entry, RetireModel]],
    standing: Standing,
) -> PublishedModel:
    in_force = [one for one in retirements if not _is_overruled(one[0], publications, standing)]
    against = {one.id: [r for r in in_force if _takes_back(r[0], one, standing)] for one, _ in publications}
    left = [one for one in publications if not against[one[0].id]]
    retirement = None
    if not left:  # the voters' words come before the publishers' own
        taking = [one for ones in against.values() for one in ones]
        by, body = min(taking, key=lambda one: (not standing.is_voters(one[0]), one[0].id))
        retirement = Retirement(by=by.author, reason=body.reason, of_voter=standing.is_voters(by))
    shown = tuple(_publication(entry, body) for entry, body in _last_of_each(left or publications))
    return PublishedModel(digest=digest, publications=shown, retirement=retirement)


def _publication(entry: Entry, body: PublishModel) -> Publication:
    return Publication(publisher=entry.author, name=body.name, licence=body.licence, release=body.release)


def _is_overruled(retirement: Entry, publications: list[tuple[Entry, PublishModel]], standing: Standing) -> bool:
    """Whether a voter's retirement is over: a voter who knew of it has published the model again."""
    return standing.is_voters(retirement) and any(
        standing.is_voters(entry) and standing.knows(entry, retirement) for entry, _ in publications
    )


def _takes_back(retirement: Entry, publication: Entry, standing: Standing) -> bool:
    """Whether a retirement in force is a voter's, or the publisher's own that the publication does not know of."""
    return standing.is_voters(retirement) or (
        standing.goes_on_from(retirement.author, publication.author) and not standing.knows(publication, retirement)
    )


def _last_of_each(publications: list[tuple[Entry, PublishModel]]) -> list[tuple[Entry, PublishModel]]:
    """Of the publications of each key the last, in the order of their ids."""
    last: dict[bytes, tuple[Entry, PublishModel]] = {}
    for one in sorted(publications, key=lambda one: one[0].seq):
        last[one[0].author] = one
    return sorted(last.values(), key=lambda one: one[0].id)

"""Where a model comes from: a tree of its parents, theirs, and so on, as far as the cards here tell.

Only a digest leads from one card to the next: names prove nothing.  Cards may contradict each other, name themselves
as their own parents or a thousand of them: the tree is cut where it comes round, and bounded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from models.core.card import Card, Parent, line_of
from models.core.licences import UNKNOWN

MAX_GENERATIONS: Final = 16
MAX_MODELS: Final = 200


@dataclass(frozen=True, kw_only=True)
class Held:
    """A model that is here.  publisher: public key of who signed its release, hexadecimal, "" where nobody did."""

    card: Card
    publisher: str = ""
    signed_by: str = ""  # the same for people


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """A model in a tree.  relation: how its child was made from it, "" at the root.

    parents: None where they are unknown, or cut: they stand further up, or too many generations away.  here: whether
    this node holds it.
    """

    name: str
    digest: str
    relation: str
    source: str
    licence: str
    recipe: str
    tools: tuple[str, ...]
    publisher: str
    signed_by: str
    here: bool
    parents: "tuple[Ancestor, ...] | None"
    cut: bool = False


def lineage(digest: str, held: Mapping[str, Held]) -> Ancestor:
    """Build the tree of a model that is among those held, by digest."""
    return _Tree(held).of(Parent(name=held[digest].card.name, digest=digest), ())


class _Tree:
    """One tree while it grows."""

    def __init__(self, held: Mapping[str, Held]) -> None:
        self._held = held
        self._models = 0

    def of(self, parent: Parent, path: tuple[str, ...]) -> Ancestor:
        """Return a model with its ancestors; `path`: digests of its descendants."""
        self._models += 1
        known = self._held.get(parent.digest)
        card = known.card if known else Card(name=parent.name, source=parent.source)
        cut = bool(card.parents) and (parent.digest in path or len(path) >= MAX_GENERATIONS)
        return Ancestor(
            name=card.name,
            digest=parent.digest,
            relation=parent.relation if path else "",
            source=card.source if card.source != UNKNOWN else parent.source,
            licence=card.licence,
            recipe=line_of(card.recipe),
            tools=tuple(_tools(card)),
            publisher=known.publisher if known else "",
            signed_by=known.signed_by if known else "",
            here=known is not None,
            parents=None if cut or card.parents is None else self._parents(card.parents, (*path, parent.digest)),
            cut=cut,
        )

    def _parents(self, parents: tuple[Parent, ...], path: tuple[str, ...]) -> tuple[Ancestor, ...]:
        return tuple(self.of(parent, path) for parent in parents if self._models < MAX_MODELS)


def _tools(card: Card) -> Iterator[str]:
    for tool in card.tools or ():
        yield tool.name if tool.version == UNKNOWN else f"{tool.name} {tool.version}"

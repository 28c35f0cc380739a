"""The tree of a model's ancestors ends, whatever the cards claim."""

from itertools import pairwise

from models.core.card import Card, Parent, Tool
from models.core.lineage import MAX_GENERATIONS, MAX_MODELS, Ancestor, Held, lineage

CHILD, MOTHER, FATHER = "a" * 64, "b" * 64, "c" * 64


def _count(tree: Ancestor) -> int:
    return 1 + sum(map(_count, tree.parents or ()))


def _depth(tree: Ancestor) -> int:
    return 1 + max(map(_depth, tree.parents or ()), default=0)


def test_a_tree_follows_digests_as_far_as_cards_tell() -> None:
    """What is here is told from its own card; of the rest the child's card is all there is."""
    child = Card(
        name="child",
        licence="MIT",
        recipe="merged\nhalf and half",
        tools=(Tool(name="mergekit", version="0.1"), Tool(name="hand")),
        parents=(
            Parent(name="called mother", digest=MOTHER, relation="merged", source="elsewhere"),
            Parent(name="father", digest=FATHER, relation="merged", source="https://example.org/father"),
            Parent(name="child"),
        ),
    )
    held = {CHILD: Held(card=child), MOTHER: Held(card=Card(name="mother", parents=()), publisher="ff", signed_by="me")}
    tree = lineage(CHILD, held)
    assert (tree.name, tree.relation, tree.here, tree.licence) == ("child", "", True, "MIT")
    assert (tree.recipe, tree.tools) == ("merged half and half", ("mergekit 0.1", "hand"))
    assert tree.parents is not None
    mother, father, namesake = tree.parents
    assert (mother.name, mother.relation, mother.here, mother.parents) == ("mother", "merged", True, ())
    assert (mother.source, mother.publisher, mother.signed_by) == ("elsewhere", "ff", "me")
    assert (father.name, father.here, father.parents) == ("father", False, None)
    assert (father.source, father.licence, father.publisher) == ("https://example.org/father", "unknown", "")
    assert (namesake.digest, namesake.here, namesake.relation) == ("unknown", False, "unknown")


def test_a_card_that_names_itself_comes_round_once() -> None:
    """And so do two that name each other."""
    card = Card(name="n", parents=(Parent(name="n", digest=MOTHER), Parent(name="n", digest=CHILD)))
    tree = lineage(CHILD, {CHILD: Held(card=card), MOTHER: Held(card=card)})
    assert _depth(tree) == 3
    assert _count(tree) == 1 + 2 + 2
    assert tree.parents is not None
    mother, again = tree.parents
    assert (tree.cut, mother.cut, again.cut, again.parents) == (False, False, True, None)


def test_a_long_line_is_cut() -> None:
    """After so many generations that nobody would read on."""
    digests = [f"{number:064x}" for number in range(100)]
    held = {
        digest: Held(card=Card(name="n", parents=(Parent(name="n", digest=parent),)))
        for digest, parent in pairwise(digests)
    }
    assert _depth(lineage(digests[0], held)) == MAX_GENERATIONS + 1


def test_a_broad_tree_is_cut() -> None:
    """Sixteen parents each would be 16 to the power of 16."""
    digests = [f"{number:064x}" for number in range(20)]
    held = {
        digest: Held(card=Card(name="n", parents=tuple(Parent(name="n", digest=one) for one in digests[:16])))
        for digest in digests
    }
    assert _count(lineage(digests[19], held)) == MAX_MODELS

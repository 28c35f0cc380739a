"""Laws of the kept beginnings: what is found was computed for these tokens, and the budget holds."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from models.core.prefixes import FEWEST_TOKENS, PrefixTree

LONG = tuple(range(100, 200))


@dataclass(frozen=True)
class Told:
    """A segment that is what it was computed for: the tokens up to each of its own."""

    values: tuple[tuple[int, ...], ...]

    @property
    def nbytes(self) -> int:
        """A byte a token."""
        return len(self.values)

    def split(self, tokens: int) -> "tuple[Told, Told]":
        """Cut it."""
        return Told(self.values[:tokens]), Told(self.values[tokens:])


def add(tree: PrefixTree[Told], scope: str, ids: tuple[int, ...]) -> int:
    """Add; return how many tokens were asked for."""
    asked = 0

    def segment(start: int, stop: int) -> Told:
        nonlocal asked
        asked = stop - start
        return Told(tuple(ids[: end + 1] for end in range(start, stop)))

    tree.add(scope, ids, segment)
    return asked


def found(tree: PrefixTree[Told], scope: str, ids: tuple[int, ...], most: int | None = None) -> int:
    """How many tokens are found, each computed behind exactly the tokens before it."""
    parts = tree.find(scope, ids, most=len(ids) if most is None else most)
    values = [value for part, tokens in parts for value in part.values[:tokens]]
    assert values == [ids[: end + 1] for end in range(len(values))]
    return len(values)


sequences = st.lists(st.integers(0, 1), min_size=1, max_size=60).map(tuple)


@given(st.lists(st.tuples(st.sampled_from("ab"), sequences), max_size=30), st.integers(0, 400))
def test_what_is_found_was_computed_for_these_tokens(added: list[tuple[str, tuple[int, ...]]], budget: int) -> None:
    """Whatever came before, in whatever order; and never more bytes than allowed."""
    tree: PrefixTree[Told] = PrefixTree(budget)
    for scope, ids in added:
        known = found(tree, scope, ids)
        asked = add(tree, scope, ids)
        assert asked in (0, len(ids) - known)
        assert tree.nbytes <= budget
        others = {ids for other, ids in added if other != scope}
        for one in (ids, *others):
            found(tree, scope, one)
    kept = {id(edge): edge for scope in "ab" for _, ids in added for edge, _ in tree._path(scope, ids)}
    assert sum(edge.segment.nbytes for edge in kept.values()) == tree.nbytes
    assert all(edge.segment.nbytes == len(edge.tokens) for edge in kept.values())


def test_a_beginning_is_shared() -> None:
    """Two questions behind one system message share it; only what is new is asked for."""
    tree: PrefixTree[Told] = PrefixTree(10_000)
    one, other = LONG + (1,) * 20, LONG + (2,) * 30
    assert add(tree, "anna", one) == 120
    assert found(tree, "anna", other) == 100
    assert add(tree, "anna", other) == 30
    assert tree.nbytes == 150
    assert (found(tree, "anna", one), found(tree, "anna", other)) == (120, 130)
    assert add(tree, "anna", one) == 0


def test_no_more_is_found_than_asked_for() -> None:
    """Whoever needs a token to compute leaves one."""
    tree: PrefixTree[Told] = PrefixTree(10_000)
    add(tree, "anna", LONG)
    assert found(tree, "anna", LONG, most=98) == 98
    assert found(tree, "anna", LONG, most=0) == 0


def test_scopes_do_not_see_each_other() -> None:
    """What one has asked cannot be tried out by another."""
    tree: PrefixTree[Told] = PrefixTree(10_000)
    add(tree, "anna", LONG)
    assert found(tree, "ben", LONG) == 0


def test_what_is_too_short_is_not_kept() -> None:
    """Nor does it cut what is there."""
    tree: PrefixTree[Told] = PrefixTree(10_000)
    assert add(tree, "anna", LONG[: FEWEST_TOKENS - 1]) == 0
    add(tree, "anna", LONG)
    assert add(tree, "anna", LONG[:50] + (1,) * (FEWEST_TOKENS - 1)) == 0
    assert len(tree.find("anna", LONG, most=100)) == 1


def test_what_was_of_use_least_recently_goes_first() -> None:
    """And of a branch the end before the beginning."""
    tree: PrefixTree[Told] = PrefixTree(250)
    first, second = (1,) * 100, (2,) * 100
    add(tree, "anna", first)
    add(tree, "ben", second)
    found(tree, "anna", first)
    add(tree, "anna", first + (5,) * 60)
    assert found(tree, "ben", second) == 0
    assert found(tree, "anna", first + (5,) * 60) == 160
    add(tree, "anna", first + (6,) * 80)
    assert found(tree, "anna", first + (6,) * 80) == 180
    add(tree, "anna", first + (7,) * 60)
    assert found(tree, "anna", first + (5,) * 60) == 100


def test_nothing_is_kept_without_a_budget_or_after_clearing() -> None:
    """A segment larger than the budget leaves at once."""
    tree: PrefixTree[Told] = PrefixTree(99)
    add(tree, "anna", LONG)
    assert (tree.nbytes, found(tree, "anna", LONG)) == (0, 0)
    add(tree, "anna", LONG[:99])
    assert tree.nbytes == 99
    tree.clear()
    assert (tree.nbytes, found(tree, "anna", LONG)) == (0, 0)

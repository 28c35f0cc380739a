"""Who answers: this node if the model is here, else of those that hold it the nearest with least to do for us."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from device.api_of_models import HeldModel
from device.errors import AmbiguousNodeError, NodeUnreachableError, NoSuchModelError, NoSuchNodeError
from device.wording import named

AUTO: Final = "auto"
LOCAL: Final = "local"
DEFAULT_MODEL: Final = "default"
MIN_DIGEST_PREFIX: Final = 8  # characters; shorter ones are names
MIN_ID_PREFIX: Final = 4
MAX_LISTED: Final = 10


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A node that may answer.  hops: how far away it is, 0 = out of reach; running: our questions it answers now."""

    node_id: str
    name: str
    models: tuple[HeldModel, ...]
    hops: int = 1
    running: int = 0

    @property
    def reachable(self) -> bool:
        """Whether a question gets there."""
        return self.hops > 0


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where a question goes and which model answers it."""

    node_id: str
    node_name: str
    model: HeldModel
    local: bool


def choose_route(
    *, model: str, node: str, default_model: str, here: Candidate, neighbours: Sequence[Candidate]
) -> Route:
    """Choose who answers.

    model: a name, a digest, eight or more characters of one, or "default" (`default_model` where it is held, else the
    first model by name); node: "auto", "local", or the beginning of an id.
    Raises NoSuchModelError, NodeUnreachableError, NoSuchNodeError, AmbiguousNodeError.
    """
    if node == LOCAL:
        return _at(here, model, default_model, local=True)
    if node != AUTO:
        chosen = find_node(node, [here, *neighbours])
        if chosen is not here and not chosen.reachable:
            raise NodeUnreachableError(f"{_shown(chosen)} is out of reach now")
        return _at(chosen, model, default_model, local=chosen is here)
    if find_model(here.models, model, default_model):
        return _at(here, model, default_model, local=True)
    holders = [(one, held) for one in neighbours if (held := find_model(one.models, model, default_model))]
    near = [(one, held) for one, held in holders if one.reachable]
    if near:
        best, held = min(near, key=lambda pair: (_is_second_choice(model, default_model, pair[1]), *_cost(pair[0])))
        return Route(node_id=best.node_id, node_name=best.name, model=held, local=False)
    if holders:
        names = ", ".join(_shown(one) for one, _ in holders[:MAX_LISTED])
        raise NodeUnreachableError(f"{holders[0][1].name} is held by {names}, out of reach now")
    raise _no_such_model(model, [here, *(one for one in neighbours if one.reachable)], "here or in reach")


def choose_successor(
    digest: str, *, here: Candidate, neighbours: Sequence[Candidate], without: Collection[str]
) -> Route | None:
    """Choose who goes on with an answer that other nodes could not end: none of `without`, and the very same model.

    A neighbour before this node, for were this node the better one, the question would not have left it.
    """
    by_cost = sorted((one for one in neighbours if one.reachable), key=_cost)
    for one in (*by_cost, here):
        held = next((held for held in one.models if held.digest == digest), None)
        if held is not None and one.node_id not in without:
            return Route(node_id=one.node_id, node_name=one.name, model=held, local=one is here)
    return None


def find_node(prefix: str, nodes: Iterable[Candidate]) -> Candidate:
    """Find the one node whose id is `prefix` or, from four characters on, begins with it."""
    wanted = prefix.strip().lower()
    ids = {one.node_id: one for one in nodes}
    if wanted in ids:
        return ids[wanted]
    found = [one for one in ids.values() if len(wanted) >= MIN_ID_PREFIX and one.node_id.startswith(wanted)]
    if len(found) > 1:
        raise AmbiguousNodeError(f"{prefix} may be {' or '.join(_shown(one) for one in found[:MAX_LISTED])}")
    if not found:
        raise NoSuchNodeError(f"no node's id begins with {prefix} ({MIN_ID_PREFIX} characters at least)")
    return found[0]


def find_model(models: Sequence[HeldModel], wanted: str, default_model: str) -> HeldModel | None:
    """Find the model that `wanted` means among those that one node holds."""
    if wanted == DEFAULT_MODEL:
        usual = [held for held in models if held.name == default_model]
        return usual[0] if usual else min(models, key=lambda held: held.name, default=None)
    for held in models:
        if wanted in (held.name, held.digest):
            return held
    begun = [held for held in models if len(wanted) >= MIN_DIGEST_PREFIX and held.digest.startswith(wanted.lower())]
    return begun[0] if len({held.digest for held in begun}) == 1 else None


def _at(node: Candidate, model: str, default_model: str, *, local: bool) -> Route:
    held = find_model(node.models, model, default_model)
    if held is None:
        raise _no_such_model(model, [node], "on this node" if local else f"at {_shown(node)}")
    return Route(node_id=node.node_id, node_name=node.name, model=held, local=local)


def _is_second_choice(wanted: str, default_model: str, held: HeldModel) -> bool:
    return wanted == DEFAULT_MODEL and held.name != default_model


def _cost(node: Candidate) -> tuple[int, int, str]:
    return node.hops, node.running, node.node_id


def _no_such_model(wanted: str, nodes: Iterable[Candidate], where: str) -> NoSuchModelError:
    held = sorted({model.name for node in nodes for model in node.models})
    asked = "no model" if wanted == DEFAULT_MODEL else f"no model {wanted!r}"
    there = f"; there is {', '.join(held[:MAX_LISTED])}" if held else ""
    error = NoSuchModelError(f"there is {asked} {where}{there}")
    if not held:
        error.hint = (
            "get one (hearth models pull smollm2-135m), or pair with a neighbour that has one (hearth join WORDS)"
        )
    return error


def _shown(node: Candidate) -> str:
    return named(node.name, node.node_id)

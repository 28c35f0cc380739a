"""Which models the nodes in reach hold, put together from what each of them announces."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from device.api_of_models import HeldModel, Holder, MeshModel, MeshModels
from device.api_of_record import OnRecord
from device.core.fitting import Need, Room, shortfalls
from device.core.routing import Candidate

MAX_LISTED: Final = 500
MAX_HOLDERS: Final = 50  # named of one model, the nearest first


def mesh_catalogue(
    here: Candidate, neighbours: Sequence[Candidate], *, room: Room
) -> tuple[tuple[MeshModel, ...], int]:
    """List the models of everybody in reach by name, each with who has it, and say how many were left out.

    A model is its digest: where nodes call it differently it has the name that it has here, else the nearest holder's.
    Whether one that is not here would fit is an estimate from its size, of which the largest that is told counts.
    """
    held: dict[str, list[tuple[Candidate, HeldModel]]] = {}
    nodes = [here, *sorted((one for one in neighbours if one.reachable), key=lambda one: (one.hops, one.node_id))]
    for node in nodes:
        for model in node.models:
            if all(other is not node for other, _ in held.setdefault(model.digest, [])):
                held[model.digest].append((node, model))
    found = [_entry(digest, holders, here, room) for digest, holders in held.items()]
    found.sort(key=lambda model: (model.name, model.digest))
    return tuple(found[:MAX_LISTED]), max(0, len(found) - MAX_LISTED)


def with_record(found: MeshModels, said: Mapping[str, OnRecord]) -> MeshModels:
    """Add what the community's record says of each model, by digest."""
    models = (
        replace(model, published_by=one.published_by, retired=one.retired) if (one := said.get(model.digest)) else model
        for model in found.models
    )
    return replace(found, models=tuple(models))


def _entry(digest: str, holders: list[tuple[Candidate, HeldModel]], here: Candidate, room: Room) -> MeshModel:
    size_bytes, (nearest, model) = max(one.size_bytes for _, one in holders), holders[0]
    need, is_here = Need.of(size_bytes), nearest is here
    return MeshModel(
        name=model.name,
        digest=digest,
        size_bytes=size_bytes,
        licence=model.licence,
        passed_on=any(one.passed_on for _, one in holders),
        here=is_here,
        holders=tuple(
            Holder(node_id=node.node_id, name=node.name, hops=node.hops)
            for node, _ in holders[:MAX_HOLDERS]
            if node is not here
        ),
        holder_count=len(holders) - is_here,
        disk_bytes=need.disk_bytes,
        memory_bytes=need.memory_bytes,
        shortfalls=() if is_here else shortfalls(need, room),
    )

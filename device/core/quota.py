"""Which models make room when a quota would be exceeded: the least recently used that nobody pinned, one by one."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from models.errors import QuotaExceededError

NEVER: Final = -1.0
MEGABYTE: Final = 1e6


@dataclass(frozen=True, kw_only=True)
class Occupant:
    """A model of this node as a quota sees it.

    files: what it is made of, and what was made of it, by a name that two models share when they share the file;
    used_at_s: when it last answered, on the clock of the node's age; NEVER before it has; kept: pinned, or in use now.
    """

    name: str
    files: Mapping[str, int]
    used_at_s: float = NEVER
    kept: bool = False


def taken_bytes(models: Iterable[Occupant]) -> int:
    """What models take on the disk; a file that several need counts once."""
    return sum({name: size for model in models for name, size in model.files.items()}.values())


def choose_removals(
    models: Sequence[Occupant], *, coming: Mapping[str, int], quota_bytes: int, of_name: str = ""
) -> tuple[Occupant, ...]:
    """Choose what is removed so that `coming`, files as above, fits beside the rest; nothing where it fits anyway.

    of_name: the model that they become, which is not removed for itself.  quota_bytes: 0 = none.
    Raises QuotaExceededError where all that may be removed would not be enough.
    """
    if not quota_bytes:
        return ()
    arriving = Occupant(name="", files=coming)
    going: list[Occupant] = []
    candidates = iter(sorted((one for one in models if not one.kept and one.name != of_name), key=_order))
    while (needed := taken_bytes([arriving, *_without(models, going)])) > quota_bytes:
        oldest = next(candidates, None)
        if oldest is None:
            least, most = needed / MEGABYTE, quota_bytes / MEGABYTE
            raise QuotaExceededError(
                f"{least:.0f} MB would be taken even with all removed that may be; the quota is {most:.0f} MB"
            )
        going.append(oldest)
    return tuple(one for one in going if _helps(one, models, going))


def _order(model: Occupant) -> tuple[float, str]:
    return model.used_at_s, model.name


def _without(models: Iterable[Occupant], going: Collection[Occupant]) -> list[Occupant]:
    names = {one.name for one in going}
    return [one for one in models if one.name not in names]


def _helps(model: Occupant, models: Sequence[Occupant], going: Sequence[Occupant]) -> bool:
    """Whether removing it frees anything: what is also another's that stays frees nothing."""
    stays = {name for one in _without(models, going) for name in one.files}
    return not stays.issuperset(model.files)

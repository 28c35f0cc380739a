"""What a board does for others while it is warm or its battery runs down; its owner gets all of it, always."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What the sensors say; None where there is no such sensor.  percent: of the battery, while it runs down."""

    celsius: float | None = None
    percent: float | None = None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Up to where a board does all it can for others, and from where on nothing."""

    warm_celsius: int = 70
    hot_celsius: int = 80
    low_percent: int = 50
    empty_percent: int = 20


@dataclass(frozen=True, kw_only=True)
class Offering:
    """How much of its time a board works for others, 0 to 1, and why it is not all."""

    share: float = 1.0
    reason: str = ""

    def rest_s(self, worked_s: float) -> float:
        """How long to rest after so much work for others.  ValueError where nothing is offered at all."""
        if not self.share:
            raise ValueError("nothing is done for others")
        return worked_s * (1 - self.share) / self.share


EVERYTHING: Final = Offering()


def offered(condition: Condition, limits: Limits) -> Offering:
    """Decide by the worse of the two, falling evenly from the first limit to the second."""
    offers = [EVERYTHING]
    if condition.celsius is not None:
        share = _share(limits.hot_celsius - condition.celsius, limits.hot_celsius - limits.warm_celsius)
        offers.append(Offering(share=share, reason=f"the board is at {condition.celsius:.0f} °C"))
    if condition.percent is not None:
        share = _share(condition.percent - limits.empty_percent, limits.low_percent - limits.empty_percent)
        offers.append(Offering(share=share, reason=f"its battery is at {condition.percent:.0f} %"))
    least = min(offers, key=lambda one: one.share)
    return least if least.share < 1 else EVERYTHING


def _share(left: float, span: float) -> float:
    return round(min(1.0, max(0.0, left / span)), 2)

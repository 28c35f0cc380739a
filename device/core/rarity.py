"""How many sources hold each part, so that what few hold is asked for first."""


class Rarity:
    """Counts holders of parts; sets of parts are bitmaps, and a whole set is counted at once."""

    def __init__(self) -> None:
        self._held_by: list[int] = []  # the parts that one source holds, two, three, ...

    def add(self, parts: int) -> None:
        """Count one more holder of each of these parts."""
        moving = parts
        for held in self._held_by:
            moving &= ~held
        for at, held in enumerate(self._held_by):
            leaving = held & parts
            self._held_by[at] = held ^ leaving | moving
            moving = leaving
        if moving:
            self._held_by.append(moving)

    def remove(self, parts: int) -> None:
        """Count one holder less of each of these parts."""
        moving = 0
        for at in reversed(range(len(self._held_by))):
            held = self._held_by[at]
            leaving = held & parts
            self._held_by[at] = held ^ leaving | moving
            moving = leaving
        while self._held_by and not self._held_by[-1]:
            self._held_by.pop()

    def rarest(self, parts: int) -> int:
        """Return those of these parts that the fewest hold."""
        return next((found for held in self._held_by if (found := held & parts)), 0)

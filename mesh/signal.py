"""Something that happens, told in the event loop to whoever wants to hear of it."""

from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Signal(Generic[P]):
    """Call `add` with a handler, and the signal itself with what has happened; handlers are called in their order."""

    def __init__(self) -> None:
        self._handlers: list[Callable[P, None]] = []

    def add(self, handler: Callable[P, None]) -> None:
        """Tell a handler from now on."""
        self._handlers.append(handler)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Tell all of them."""
        for handler in self._handlers:
            handler(*args, **kwargs)

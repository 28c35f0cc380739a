"""Long work, shown while it goes on: a model on its way here, by a pull or an import; and work of other kinds."""

import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

from device.cli.printing import print_json, print_note
from device.cli.progress import PullLine
from device.wording import size

if TYPE_CHECKING:
    from device.api_of_models import Model, PullProgress, Removed

Result = TypeVar("Result")


async def arrived(
    items: "AsyncGenerator[PullProgress | Removed | Model, None]", *, name: str, as_json: bool
) -> "Model":
    """Show each item as it comes, and what was removed for the model; give the model, which comes last."""
    from device.api_of_models import Model, PullProgress  # noqa: PLC0415  loaded anyway by then

    line = PullLine(name, sys.stderr)
    try:
        async with aclosing(items):
            async for item in items:
                match item:
                    case Model():
                        model = item
                        shown: object = {"stage": "done", "model": item}
                    case PullProgress():
                        shown = item
                        if not as_json:
                            line.show(item, now=time.monotonic())
                    case _:
                        shown = {"stage": "removed", "removed": item}
                        if not as_json:
                            line.end()
                            print_note(
                                f"Removed {item.name} ({size(item.size_bytes)}) to make room; a pin would keep it."
                            )
                if as_json:
                    print_json(shown)
    finally:
        line.end()
    return model


async def ended(items: "AsyncGenerator[PullProgress | Result, None]", *, name: str, as_json: bool) -> "Result":
    """Show how far some other long work is as it goes on; give what comes of it, which comes last."""
    from device.api_of_models import PullProgress  # noqa: PLC0415  loaded anyway by then

    line = PullLine(name, sys.stderr)
    try:
        async with aclosing(items):
            async for item in items:
                if not isinstance(item, PullProgress):
                    result = item
                elif as_json:
                    print_json(item)
                else:
                    line.show(item, now=time.monotonic())
    finally:
        line.end()
    return result

"""One command's talk with the daemon: which socket, which event loop."""

import argparse
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from device.client import DaemonClient

T = TypeVar("T")


def socket_of(args: argparse.Namespace) -> Path:
    """The socket of the daemon that is meant: --data, HEARTH_DATA, this user's own, else the service's."""
    from device import config  # noqa: PLC0415  a verb loads what it needs, `--help` nothing

    if args.data is not None:
        return config.socket_path(args.data.absolute())
    path = config.socket_path(config.default_data_dir(os.environ).absolute())
    service = config.SERVICE_RUNTIME / config.SOCKET_NAME
    if config.DATA_VARIABLE not in os.environ and not path.exists() and service.exists():
        return service
    return path


def run(args: argparse.Namespace, talk: Callable[["DaemonClient"], Awaitable[T]]) -> T:
    """Run `talk` with a client of the daemon that `args` means; Ctrl-C cancels it."""
    import asyncio  # noqa: PLC0415  as above

    from device.client import DaemonClient  # noqa: PLC0415  as above

    async def talked() -> T:
        return await talk(DaemonClient(socket_of(args), data_dir=args.data))

    return asyncio.run(talked())

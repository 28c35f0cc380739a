"""Word from the kernel that links or addresses have changed (rtnetlink(7)), so that nobody need look all the time."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Final

log = logging.getLogger(__name__)

RTMGRP_LINK: Final = 0x1
RTMGRP_IPV4_IFADDR: Final = 0x10
RTMGRP_IPV6_IFADDR: Final = 0x100
DATAGRAM_BYTES: Final = 32 * 1024


@contextlib.contextmanager
def network_news() -> Iterator[asyncio.Event]:
    """Give an event that is set whenever a link or an address of this machine changes; whoever waits clears it.

    What has changed is not read out of it: that is for a look at the interfaces.  Without netlink it is never set.
    """
    news = asyncio.Event()
    with contextlib.ExitStack() as stack:
        try:
            kernel = stack.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
            kernel.setblocking(False)
            kernel.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        except OSError as error:
            log.info("the kernel does not tell of changes of the network (%s); they are looked for", error.strerror)
        else:
            loop = asyncio.get_running_loop()
            loop.add_reader(kernel, _drain, kernel, news)
            stack.callback(loop.remove_reader, kernel)
        yield news


def _drain(kernel: socket.socket, news: asyncio.Event) -> None:
    """Take what has come; that more came than the kernel could keep is news as well."""
    with contextlib.suppress(OSError):
        while kernel.recv(DATAGRAM_BYTES):
            pass
    news.set()

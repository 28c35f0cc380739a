"""TCP ports of this node: is one free, does someone answer there."""

import asyncio
import errno
import socket

from mesh.errors import BrokerFailedError, PortInUseError


def free_port(bind_address: str | None) -> int:
    """Choose a port that nothing listens on now."""
    with socket.socket(_family(bind_address), socket.SOCK_STREAM) as probe:
        probe.bind((bind_address or "", 0))
        port: int = probe.getsockname()[1]
        return port


def check_port(port: int, bind_address: str | None, *, key: str) -> None:
    """Raise PortInUseError, naming the port and its key in hearth.toml, when something listens there already."""
    families = (_family(bind_address),) if bind_address else (socket.AF_INET, socket.AF_INET6)
    for family in families:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((bind_address or "", port))
                probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise port_in_use(port, key=key) from error
            if error.errno == errno.EACCES:
                raise BrokerFailedError(f"this user may not listen on port {port} ({key})") from error
            if bind_address is not None:
                raise BrokerFailedError(f"cannot listen on {bind_address} port {port}: {error}") from error


def port_in_use(port: int, *, key: str) -> PortInUseError:
    """Make the error for a port that another program has."""
    return PortInUseError(f"port {port} ({key}) is in use by another program")


async def accepts(address: str, port: int) -> bool:
    """Tell whether something listens there."""
    loop = asyncio.get_running_loop()
    with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            async with asyncio.timeout(1.0):
                await loop.sock_connect(probe, (address, port))
        except (OSError, TimeoutError):
            return False
        return True


def _family(address: str | None) -> socket.AddressFamily:
    return socket.AF_INET6 if address is not None and ":" in address else socket.AF_INET

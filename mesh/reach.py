"""Whether somebody listens at an address, and in a few words why not."""

import asyncio
import contextlib
import errno

KNOCK_S = 2.0


def reason(error: BaseException) -> str:
    """Say why an address could not be reached."""
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, OSError) and error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}:
        return "no route to it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


async def knock(address: str, port: int, *, within_s: float = KNOCK_S) -> str:
    """Open a TCP connection and close it; return why that failed, or nothing when somebody listens."""
    try:
        async with asyncio.timeout(within_s):
            _, writer = await asyncio.open_connection(address, port)
    except OSError as error:  # TimeoutError is one
        return reason(error)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""

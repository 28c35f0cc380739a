"""Why an address cannot be reached, in words people know."""

import asyncio
import errno
import socket
import ssl

import pytest

from mesh.reach import knock, reason


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "no answer"),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), "no answer"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "connection refused"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no route to it"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "no route to it"),
        (OSError(errno.EINVAL, "Invalid argument"), "Invalid argument"),
        (ssl.SSLError(1, "certificate verify failed"), "certificate verify failed"),
        (OSError("said so"), "said so"),
        (OSError(), "OSError"),
    ],
)
def test_reasons_are_words(error: OSError, said: str) -> None:
    """No error numbers; what has no words keeps its name."""
    assert reason(error) == said


async def test_who_listens_answers_a_knock() -> None:
    """An empty reason means that somebody is there, and nothing is left open."""
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""
        writer.close()
        gone.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        assert await knock("127.0.0.1", server.sockets[0].getsockname()[1]) == ""
        await asyncio.wait_for(gone.wait(), 5)


async def test_a_closed_port_refuses() -> None:
    """A machine that is there, without the service."""
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        assert await knock("127.0.0.1", bound.getsockname()[1]) == "connection refused"


async def test_silence_is_no_answer() -> None:
    """A full backlog drops what knocks, as a firewall does."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        place = silent.getsockname()
        with socket.create_connection(place):  # fills it
            reasons = {await knock(*place, within_s=0.1) for _ in range(3)}
    assert "no answer" in reasons

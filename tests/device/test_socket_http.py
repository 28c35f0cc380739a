"""HTTP at the socket: replies of every shape, good and bad, from a peer that writes bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from device.client import AnswerBrokenOffError, DaemonClient, DaemonTimeoutError, UnexpectedReplyError
from device.socket_http import MAX_LINE_BYTES, ConnectError, NotHttpError, Upload, request


@asynccontextmanager
async def peer(path: Path, reply: bytes | None) -> AsyncIterator[list[bytes]]:
    """Listen, read a request's head, write the reply and hang up; None = say nothing until the test is over."""
    heard: list[bytes] = []
    over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        if reply is None:
            await over.wait()
        else:
            writer.write(reply)
        writer.close()

    server = await asyncio.start_unix_server(talk, path)
    try:
        yield heard
    finally:
        over.set()
        server.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}surplus",
        b"HTTP/1.0 200 \r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
)
async def test_a_body_ends_where_it_says_or_with_the_connection(tmp_path: Path, reply: bytes) -> None:
    """With a length, and without."""
    async with (
        peer(tmp_path / "s", reply) as heard,
        request(tmp_path / "s", "POST", "/a%2Fb", b"{}", connect_within_s=5) as got,
    ):
        assert (got.status, got.is_error, await got.body()) == (200, False, b"{}")
    assert heard[0].startswith(b"POST /a%2Fb HTTP/1.1\r\nHost: localhost\r\n")
    assert b"Content-Length: 2\r\n" in heard[0]


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 two OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nno json",
        b"HTTP/1.1 200 OK\r\n\r\n[]",
        b"HTTP/1.1 500 Oh\r\n\r\n{}",
        b"HTTP/1.1 500 Oh\r\n\r\n" + b"[" * 100_000,
    ],
)
async def test_what_no_daemon_says(tmp_path: Path, reply: bytes) -> None:
    """Another program at the socket, or a broken daemon: one error, never a crash."""
    async with peer(tmp_path / "s", reply):
        with pytest.raises(UnexpectedReplyError):
            await DaemonClient(tmp_path / "s").status()


@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"]
)
async def test_a_daemon_that_dies_in_mid_reply(tmp_path: Path, reply: bytes) -> None:
    """Half a head or half a body is told apart from a wrong one."""
    async with peer(tmp_path / "s", reply):
        with pytest.raises(AnswerBrokenOffError):
            await DaemonClient(tmp_path / "s").status()


async def test_a_daemon_that_says_nothing(tmp_path: Path) -> None:
    """Patience ends."""
    async with peer(tmp_path / "s", None):
        with pytest.raises(DaemonTimeoutError):
            await DaemonClient(tmp_path / "s", reply_within_s=0.05).status()


async def test_lines_are_bounded_and_cut_at_line_feeds_alone(tmp_path: Path) -> None:
    """A line separator inside JSON does not split it; an endless line is refused."""
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    async with (
        peer(tmp_path / "s", head + "a\u2028b\r\n\n\nlast".encode()),
        request(tmp_path / "s", "GET", "/", None, connect_within_s=5) as got,
    ):
        assert [line async for line in got.lines()] == ["a\u2028b\r".encode(), b"last"]
    async with (
        peer(tmp_path / "t", head + b"x" * (MAX_LINE_BYTES + 200_000)),
        request(tmp_path / "t", "GET", "/", None, connect_within_s=5) as got,
    ):
        with pytest.raises(NotHttpError):
            [line async for line in got.lines()]


async def test_nobody_there(tmp_path: Path) -> None:
    """No socket: told apart from everything else."""
    with pytest.raises(ConnectError) as caught:
        async with request(tmp_path / "none", "GET", "/", None, connect_within_s=5):
            pass
    assert not caught.value.forbidden


async def _pieces(*pieces: bytes, then: Exception | None = None) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if then is not None:
        raise then


async def test_an_upload_is_sent_in_pieces(tmp_path: Path) -> None:
    """With its size told first, and no more of it held than can be sent."""
    received = bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.readuntil(b"\r\n\r\n"))
        received.extend(await reader.readexactly(3_000_000))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    upload = Upload(3_000_000, _pieces(*[b"x" * 1_000_000] * 3))
    async with (
        await asyncio.start_unix_server(talk, tmp_path / "s"),
        request(tmp_path / "s", "POST", "/a", upload, connect_within_s=5) as got,
    ):
        assert got.size == 2
        assert await got.body() == b"{}"
    assert b"Content-Length: 3000000\r\n" in received
    assert b"Content-Type: application/x-tar\r\n" in received
    assert received.endswith(b"x" * 3_000_000)


async def test_a_reply_that_comes_early_is_heard(tmp_path: Path) -> None:
    """While the rest of the upload is still to be sent."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}")
        while await reader.read(1_000_000):  # as the daemon does, until whoever sends has heard
            pass
        writer.close()

    async with (
        await asyncio.start_unix_server(talk, tmp_path / "s"),
        request(tmp_path / "s", "POST", "/a", Upload(10**15, endless()), connect_within_s=5) as got,
    ):
        assert (got.status, got.is_error, await got.body()) == (400, True, b"{}")


async def test_a_source_that_fails_is_what_is_said(tmp_path: Path) -> None:
    """Not that the connection ended, which came of it; the peer sees that nothing more comes."""
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        ended.set()
        writer.close()

    upload = Upload(1000, _pieces(b"half", then=ValueError("the stick is gone")))
    async with await asyncio.start_unix_server(talk, tmp_path / "s"):
        with pytest.raises(ValueError, match="the stick is gone"):
            async with request(tmp_path / "s", "POST", "/a", upload, connect_within_s=5):
                pytest.fail("there was a reply")
        await ended.wait()

"""The same server over TLS, under the same clients; real handshakes with a certificate of our own making."""

import asyncio
import logging
import socket
import ssl

import pytest
from starlette.types import Receive, Scope, Send

from device.http.server import HttpServer, Patience
from mesh.certificates import PageCertificate
from tests.device.http.servers import REQUEST, Held, connected, greet, phone, serving
from tests.models.waiting import until

HURRIED = Patience(head_within_s=0.2)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_old_and_new_phones_are_answered(certificate: PageCertificate, newest: ssl.TLSVersion) -> None:
    """One request after the other, in pieces too, on a connection that the application knows to be https."""
    schemes = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        schemes.append(scope["scheme"])
        await greet(scope, receive, send)

    async with (
        serving(app, tls=certificate.context) as (_, port),
        connected(port, tls=phone(newest=newest)) as (reader, writer),
    ):
        for _ in range(2):
            writer.write(REQUEST[:10])
            await writer.drain()
            writer.write(REQUEST[10:])
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        assert writer.get_extra_info("ssl_object").version() == newest.name.replace("_", ".")
    assert schemes == ["https"] * 2


async def test_a_request_in_the_same_flight_as_the_handshake_is_answered(certificate: PageCertificate) -> None:
    """A client of TLS 1.3 need not wait for anything before it asks: all of it may come at once."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = phone().wrap_bio(incoming, outgoing)
    async with serving(greet, tls=certificate.context) as (_, port), connected(port) as (reader, writer):
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
        tls.write(REQUEST)
        writer.write(outgoing.read())  # the end of the handshake, and the question with it
        answer = b""
        while not answer.endswith(b"hello"):
            try:
                answer += tls.read()
            except ssl.SSLWantReadError:
                incoming.write(await reader.read(65536))
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silence", "half a handshake"])
async def test_a_handshake_that_does_not_come_is_cut(certificate: PageCertificate, sent: bytes) -> None:
    """Whoever says nothing, or begins and stops, does not keep a connection."""
    async with (
        serving(greet, patience=HURRIED, tls=certificate.context) as (server, port),
        connected(port) as (reader, writer),
    ):
        writer.write(sent)
        assert await _to_the_end(reader) == b""
        assert not server._server.server_state.connections


@pytest.mark.parametrize("sent", [REQUEST, bytes(4096), b"\x16\x03\x01" + b"\xff" * 300])
async def test_what_is_no_tls_is_cut(
    certificate: PageCertificate, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    """Plain text on that port hears no word of the application, and writes none into the log."""
    caplog.set_level(logging.INFO)
    async with serving(greet, tls=certificate.context) as (_, port), connected(port) as (reader, writer):
        writer.write(sent)
        assert b"HTTP" not in await _to_the_end(reader)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def test_what_is_said_before_the_handshake_is_not_taken_for_sealed(certificate: PageCertificate) -> None:
    """Plain text in front of a sound handshake spoils it; it is never joined to what comes after."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = phone().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    async with serving(greet, tls=certificate.context) as (_, port), connected(port) as (reader, writer):
        writer.write(REQUEST + outgoing.read())
        assert b"hello" not in await _to_the_end(reader)


async def test_older_tls_is_refused(certificate: PageCertificate) -> None:
    """1.1 and below can be read by others."""
    old = phone()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.deprecated_call():
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(greet, tls=certificate.context) as (_, port):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=old)


@pytest.mark.parametrize("sent", [b"", REQUEST[:-2]])
async def test_an_unfinished_request_is_cut(certificate: PageCertificate, sent: bytes) -> None:
    """After the handshake the same patience holds as without it."""
    async with (
        serving(greet, patience=HURRIED, tls=certificate.context) as (_, port),
        connected(port, tls=phone()) as (reader, writer),
    ):
        writer.write(sent)
        assert await _to_the_end(reader) == b""


async def test_who_shakes_hands_takes_a_place(certificate: PageCertificate) -> None:
    """Many that never finish do not get past the bounds; room comes back when they go."""
    async with serving(greet, patience=Patience(per_source=1), tls=certificate.context) as (server, port):
        places = server._server.server_state.connections
        async with connected(port):
            await until(lambda: len(places) == 1)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection("127.0.0.1", port, ssl=phone())
        await until(lambda: not places)
        async with connected(port, tls=phone()) as (reader, writer):
            writer.write(REQUEST)
            await reader.readuntil(b"hello")


async def test_a_stop_cuts_handshakes_and_lets_a_running_answer_end(certificate: PageCertificate) -> None:
    """Nothing new is accepted, what runs goes on to its end."""
    app = Held()
    async with (
        serving(app, tls=certificate.context) as (server, port),
        connected(port, tls=phone()) as (reader, writer),
        connected(port) as (silent, _),
    ):
        writer.write(REQUEST)
        await app.begun.wait()
        server.stop()
        assert await _to_the_end(silent) == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        app.go_on.set()
        assert (await _to_the_end(reader)).endswith(b"hello")


async def test_a_cancelled_server_cuts_its_connections(certificate: PageCertificate) -> None:
    """When the node falls, no client is left waiting, whether it is in or shakes hands."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    running = asyncio.create_task(HttpServer(greet, listener, grace_s=1, tls=certificate.context).run())
    async with connected(port, tls=phone()) as (reader, writer), connected(port) as (silent, _):
        writer.write(REQUEST)
        await reader.readuntil(b"hello")
        running.cancel()
        assert (await _to_the_end(reader), await _to_the_end(silent)) == (b"", b"")
    assert running.cancelled()


async def _to_the_end(reader: asyncio.StreamReader) -> bytes:
    """What still comes; a connection that is reset has ended too."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""

"""A wire tap in front of a broker: everything that crosses it is kept as it is without TLS.

The tap holds what only the two ends hold (the broker's key and the client's), so it stands for TLS that has failed:
what is still unreadable on it, the nodes' own sealing protects.
"""

import asyncio
import contextlib
import sqlite3
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from mesh.core.frames import Lane

READ_BYTES = 64 * 1024


class Tap:
    """Forwards connections to a broker and keeps what passes, both directions in one stream."""

    def __init__(self, *, broker_port: int, server: ssl.SSLContext, clients: dict[Lane, ssl.SSLContext]) -> None:
        self.port = 0
        self.heard = bytearray()
        self._broker_port = broker_port
        self._server = server
        self._clients = clients

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Tap"]:
        """Listen on a free port of loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._server)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, as the client that it is."""
        with contextlib.suppress(OSError, ssl.SSLError):
            # The certificate the client showed says which of its lanes this is.
            lane = Lane[_common_name(writer).rpartition(".")[2].upper()]
            to_broker = await asyncio.open_connection("127.0.0.1", self._broker_port, ssl=self._clients[lane])
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._copy(reader, to_broker[1]))
                tasks.create_task(self._copy(to_broker[0], writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(READ_BYTES):
                self.heard += data
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


def tap_between(client: Path, broker: Path, *, broker_id: bytes, broker_port: int, folder: Path) -> Tap:
    """Make a tap with the keys of two data directories: the client's to the broker's."""
    tls = broker / "mesh" / "tls"
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tls / "server.crt", tls / "server.key")
    server.load_verify_locations(tls / "ca.crt")
    server.verify_mode = ssl.CERT_REQUIRED
    with contextlib.closing(sqlite3.connect(client / "mesh" / "community.db")) as database:
        query = "SELECT ca, ctl, bulk FROM grants WHERE raw_id = ?"
        ca, *certificates = database.execute(query, (broker_id,)).fetchone()
    clients = {}
    for lane, certificate in zip((Lane.CTL, Lane.BULK), certificates, strict=True):
        path = folder / f"{lane.name}.crt"
        path.write_bytes(certificate)
        clients[lane] = ssl.create_default_context(cadata=ca.decode())
        clients[lane].check_hostname = False
        clients[lane].load_cert_chain(path, client / "mesh" / "tls" / "client.key")
    return Tap(broker_port=broker_port, server=server, clients=clients)


def _common_name(writer: asyncio.StreamWriter) -> str:
    subject = writer.get_extra_info("peercert")["subject"]
    return str(dict(part[0] for part in subject)["commonName"])

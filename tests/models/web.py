"""A web server of one file that fails on demand, and a package index, for pulls over real connections."""

import hashlib
import io
import re
import ssl
import threading
import zipfile
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

LOGIN = b"<html><title>Welcome! Please log in</title></html>"


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How the server answers a request for the file; the last one given goes on for ever."""

    ranges: bool = True  # whether it heeds Range
    breaks_after: int | None = None  # bytes of the body after which the connection is cut
    stalls_after: int | None = None  # bytes of the body after which nothing more comes
    status: int = 200
    body: bytes | None = None  # instead of the file
    headers: dict[str, str] = field(default_factory=dict)  # instead of or besides the usual ones


class WebServer:
    """Serves `data` at /file.whl on a free port while it is open; remembers the Range of every request."""

    def __init__(self, data: bytes, *behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.data = data
        self.behaviours = list(behaviours) or [Behaviour()]
        self.ranges: list[str | None] = []
        self.stalled = threading.Event()  # set when a stall begins
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if tls is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def root(self) -> str:
        """The server's address."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """The file's address."""
        return f"{self.root}/file.whl"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def next_behaviour(self) -> Behaviour:
        """Take the next of the behaviours."""
        return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, web: WebServer, *args: Any) -> None:  # noqa: ANN401  what the server passes on
        self._web = web
        super().__init__(*args)

    def do_GET(self) -> None:
        if self.path.startswith("/simple/"):
            name = self.path.split("/")[2]
            digest = hashlib.sha256(self._web.data).hexdigest()
            wheel = f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
            page = f'<a href="/wheels/{wheel}#sha256={digest}">{wheel}</a>'.encode()
            self._send(Behaviour(body=page, headers={"Content-Type": "text/html"}), page, 0)
            return
        if self.headers.get("User-Agent", "").startswith("pip"):  # resolving: not what is tested here
            self._send(Behaviour(ranges=False), self._web.data, 0)
            return
        self._web.ranges.append(self.headers.get("Range"))
        behaviour = self._web.next_behaviour()
        body = self._web.data if behaviour.body is None else behaviour.body
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked and behaviour.ranges and behaviour.status == 200 else 0
        self._send(behaviour, body, start)

    def _send(self, behaviour: Behaviour, body: bytes, start: int) -> None:
        rest = body[start:]
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(rest))}
        status = behaviour.status
        if start >= len(body) > 0:
            status, rest = 416, b""
            headers |= {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"}
        elif start:
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self.send_response(status)
        for key, value in (headers | behaviour.headers).items():
            if value:
                self.send_header(key, value)
        self.end_headers()
        cut = next((n for n in (behaviour.breaks_after, behaviour.stalls_after) if n is not None), len(rest))
        self.wfile.write(rest[:cut])
        self.wfile.flush()
        if behaviour.stalls_after is not None:
            self._web.stalled.set()
            self._web.released.wait()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class calls it so
        """Say nothing."""


def wheel_with(members: dict[str, bytes], *, name: str = "tiny_model", compressed: bool = False) -> bytes:
    """Pack a wheel that pip accepts, with `members` besides what a wheel must have."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as archive:
        for path, data in members.items():
            archive.writestr(path, data)
        info = f"{name}-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return packed.getvalue()

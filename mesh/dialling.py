"""TLS connections opened without blocking the loop, for clients that own their socket."""

import asyncio
import contextlib
import socket
import ssl

SILENCE_MS = 2500  # TCP_USER_TIMEOUT: data or probes without any acknowledgement
PROBE_S = 1  # an idle connection is probed by the kernel this often, so that a silent loss is noticed without traffic


async def dial(host: str, port: int, *, tls: ssl.SSLContext, silence_ms: int = SILENCE_MS) -> ssl.SSLSocket:
    """Open a TCP connection and do the TLS handshake without blocking the loop.  Raises OSError."""
    loop = asyncio.get_running_loop()
    family, kind, protocol, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    with contextlib.ExitStack() as opened:
        plain = opened.enter_context(socket.socket(family, kind, protocol))
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # without it every round trip costs 44 ms
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silence_ms)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_S)
        await loop.sock_connect(plain, address)
        sock = opened.enter_context(tls.wrap_socket(plain, do_handshake_on_connect=False))
        await _shake_hands(sock)
        opened.pop_all()
    return sock


async def _shake_hands(sock: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        ready = asyncio.Event()
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            loop.add_reader(sock, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(sock)
        except ssl.SSLWantWriteError:
            loop.add_writer(sock, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_writer(sock)
        else:
            return

"""What tests of the open network use: a LAN that is another loopback address, and clients that come over it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from device.api import GuestAccess
from device.node import HearthNode
from mesh.interfaces import Interface

LAN = "127.0.0.2"
CHAT = "/v1/chat/completions"
QUESTION = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}


def wlan() -> tuple[Interface, ...]:
    """A machine with one network."""
    return (Interface("wlan0", up=True, networks=(f"{LAN}/8",)),)


@asynccontextmanager
async def reaching(
    node: HearthNode, host: str = LAN, *, key: str = "", transport: httpx.AsyncHTTPTransport | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of one of the node's addresses."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    base = f"http://{host}:{node.administration.http.port}"
    async with httpx.AsyncClient(
        base_url=base, timeout=60, trust_env=False, headers=headers, transport=transport
    ) as client:
        yield client


def key_in(guests: GuestAccess) -> str:
    """The key of the QR code."""
    return guests.urls[0].partition("#k=")[2]


async def come_in(phone: httpx.AsyncClient, guests: GuestAccess) -> httpx.Response:
    """Scan the code."""
    return await phone.post("/guest/session", json={"key": key_in(guests)})


def refusal(reply: httpx.Response) -> tuple[int, str]:
    """Status and code, of an error that says what happened and what to do."""
    error = reply.json()["error"]
    assert error["message"]
    assert error["hint"]
    return reply.status_code, error["code"]


async def until_refused(phone: httpx.AsyncClient) -> None:
    """Wait until nobody listens any more; what was connected is let go with its next request."""
    async with asyncio.timeout(10):
        while True:
            try:
                await phone.get("/health", headers={"Connection": "close"})
            except httpx.TransportError:
                return

"""The owner's API for models of a real node, through the client: what passes the socket, and what does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import httpx
import pytest

from device.client import (
    AnswerBrokenOffError,
    DaemonClient,
    Model,
    PullProgress,
    RequestRefusedError,
    Upload,
    Verification,
)
from device.errors import BundleFileError
from device.node import HearthNode
from tests.models.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def client(node: HearthNode) -> DaemonClient:
    """The typed client."""
    return DaemonClient(node.config.socket_path)


async def _bundle(client: DaemonClient) -> bytes:
    async with client.export_bundle("tiny") as bundle:
        data = b"".join([piece async for piece in bundle.pieces])
    assert len(data) == bundle.size
    return data


async def _pieces(data: bytes, *, then: Exception | None = None, size: int = 100_000) -> AsyncIterator[bytes]:
    for begin in range(0, len(data), size):
        yield data[begin : begin + size]
    if then is not None:
        raise then


def _arrivals(node: HearthNode) -> list[str]:
    return [path.name for path in (node.config.data_dir / "models" / "blobs").iterdir() if path.name.startswith(".")]


async def test_a_model_goes_out_and_comes_in(client: DaemonClient) -> None:
    """Under another name, since it is here already; it is the very same one, and the same bundle again."""
    data = await _bundle(client)
    items = [item async for item in client.import_bundle(Upload(len(data), _pieces(data)), name="again")]
    assert isinstance(items[-1], Model)
    assert items[-1].digest == (await client.model("tiny")).digest
    assert {item.stage for item in items[:-1] if isinstance(item, PullProgress)} == {"import", "convert"}
    assert await _bundle(client) == data
    await client.remove("again")


async def test_what_is_no_bundle_is_refused_while_it_comes(client: DaemonClient, node: HearthNode) -> None:
    """Without reading gigabytes of it: whoever sends hears why."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10**12:
            sent += 100_000
            yield b"GGUF" * 25_000

    with pytest.raises(RequestRefusedError, match="no bundle") as raised:
        assert [item async for item in client.import_bundle(Upload(10**12, endless()))]
    assert raised.value.code == "invalid_bundle"
    assert sent < 10**9
    assert _arrivals(node) == []


async def test_a_bundle_altered_in_the_middle_is_refused(client: DaemonClient, node: HearthNode) -> None:
    """And one that is cut, before its first file is begun."""
    data = bytearray(await _bundle(client))
    data[len(data) // 2] ^= 1
    for broken, said in ((bytes(data), "altered"), (bytes(data[:-10]), "should have")):
        with pytest.raises(RequestRefusedError, match=said):
            assert [item async for item in client.import_bundle(Upload(len(broken), _pieces(broken)), name="broken")]
    assert [model.name for model in (await client.models()).models] == ["tiny"]
    assert _arrivals(node) == []


async def test_a_stick_that_is_pulled_out_is_said_as_that(client: DaemonClient, node: HearthNode) -> None:
    """By whoever reads it; the daemon keeps nothing of it."""
    data = await _bundle(client)
    gone = BundleFileError("the stick is gone", hint="put it in again")
    with pytest.raises(BundleFileError, match="the stick is gone"):
        assert [
            item
            async for item in client.import_bundle(
                Upload(len(data), _pieces(data[: len(data) // 2], then=gone)), name="half"
            )
        ]
    await until(lambda: _arrivals(node) == [])
    assert [model.name for model in (await client.models()).models] == ["tiny"]


async def test_whoever_walks_away_leaves_nothing(client: DaemonClient, node: HearthNode) -> None:
    """In the middle of a bundle, going in either direction."""
    data = await _bundle(client)
    walked = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield data[: len(data) // 2]
        walked.set()
        await asyncio.Event().wait()

    async def go() -> None:
        async with aclosing(client.import_bundle(Upload(len(data), half()), name="half")) as items:
            async for _ in items:
                pass

    going = asyncio.create_task(go())
    await walked.wait()
    going.cancel()
    await asyncio.wait((going,))
    async with client.export_bundle("tiny") as bundle:
        assert await anext(bundle.pieces)
    await until(lambda: _arrivals(node) == [])
    assert [model.name for model in (await client.models()).models] == ["tiny"]


async def test_a_model_is_pinned_and_unpinned(client: DaemonClient) -> None:
    """It is shown, also in the list."""
    assert (await client.pin("tiny")).pinned
    assert [model.pinned for model in (await client.models()).models] == [True]
    assert not (await client.unpin("tiny")).pinned
    for refused in (client.pin("absent"), client.unpin("absent")):
        with pytest.raises(RequestRefusedError) as raised:
            await refused
        assert raised.value.code == "model_not_found"


async def test_models_are_verified(client: DaemonClient) -> None:
    """With progress; one that is not here is an error in the stream."""
    items = [item async for item in client.verify()]
    assert isinstance(items[-1], Verification)
    assert [(one.name, one.sound) for one in items[-1].models] == [("tiny", True)]
    assert [item.stage for item in items[:-1] if isinstance(item, PullProgress)] == ["verify"]
    with pytest.raises(RequestRefusedError, match="absent"):
        assert [item async for item in client.verify("absent")]


async def test_a_damaged_model_is_not_exported(client: DaemonClient, node: HearthNode) -> None:
    """The bundle breaks off before its end; verified, it is set aside, and refused at once from then on."""
    model = node.administration.library._stored[0]
    path = node.config.data_dir / "models" / "blobs" / f"sha256-{model.manifest.gguf.sha256}"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(AnswerBrokenOffError):
        await _bundle(client)
    *_, found = [item async for item in client.verify("tiny")]
    assert isinstance(found, Verification)
    assert not found.sound
    assert (await client.model("tiny")).damaged
    with pytest.raises(RequestRefusedError, match="damaged") as raised:
        await _bundle(client)
    assert (raised.value.code, raised.value.status) == ("model_damaged", 409)
    (node.config.data_dir / "models" / "aside" / path.name).write_bytes(whole)
    assert [item async for item in client.verify("tiny")]  # sound after all
    assert not (await client.model("tiny")).damaged


async def test_the_mesh_is_listed(client: DaemonClient) -> None:
    """Of a node alone, its own models."""
    found = await client.mesh_models()
    assert [(model.name, model.here, model.holders) for model in found.models] == [("tiny", True, ())]
    assert (found.left_out, found.untold) == (0, 0)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/models/verify", b'{"name": 7}'),
        ("POST", "/api/models/verify", b"[]"),
        ("POST", "/api/models/pull", b"{}"),
    ],
)
async def test_a_bad_request_is_refused(owner: httpx.AsyncClient, method: str, path: str, body: bytes) -> None:
    """Before anything is begun."""
    assert (await owner.request(method, path, content=body)).status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/models/tiny/bundle"),
        ("POST", "/api/models/import"),
        ("POST", "/api/models/verify"),
        ("PUT", "/api/models/tiny/pin"),
        ("DELETE", "/api/models/tiny/pin"),
        ("GET", "/api/mesh/models"),
    ],
)
async def test_nobody_else_may(public: httpx.AsyncClient, method: str, path: str) -> None:
    """These are the owner's; on loopback there is nothing at such a path."""
    assert (await public.request(method, path)).status_code == 404

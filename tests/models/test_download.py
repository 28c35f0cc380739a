"""A download goes on where it stopped and takes nothing else for the file."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from models.download import MAX_BREAKS, download
from models.errors import FetchError, NotEnoughSpaceError, StoreWriteError
from tests.models.web import LOGIN, Behaviour, WebServer

CHUNK_BYTES = 100_000
DATA = random.Random(0).randbytes(5 * CHUNK_BYTES + 17)  # noqa: S311  any bytes do
HTML = {"Content-Type": "text/html; charset=utf-8"}


async def _download(
    web: WebServer, part: Path, *, limit_bytes: int = len(DATA), room: Callable[[int], None] = lambda _: None
) -> list[tuple[int, int]]:
    heard: list[tuple[int, int]] = []
    await download(
        web.url, part, limit_bytes=limit_bytes, room=room, progress=lambda done, total: heard.append((done, total))
    )
    return heard


async def test_a_file_arrives_with_progress(tmp_path: Path) -> None:
    """In order, to the end."""
    with WebServer(DATA) as web:
        heard = await _download(web, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == DATA
    assert heard[-1] == (len(DATA), len(DATA))
    assert heard == sorted(heard)
    assert web.ranges == [None]


async def test_it_goes_on_where_an_earlier_try_stopped(tmp_path: Path) -> None:
    """Only the rest is asked for and sent."""
    (tmp_path / "part").write_bytes(DATA[:1000])
    rooms: list[int] = []
    with WebServer(DATA) as web:
        await _download(web, tmp_path / "part", room=rooms.append)
    assert (tmp_path / "part").read_bytes() == DATA
    assert web.ranges == ["bytes=1000-"]
    assert rooms == [len(DATA) - 1000]


async def test_a_breaking_connection_is_taken_up_at_once(tmp_path: Path) -> None:
    """As long as each try brings something."""
    with WebServer(
        DATA, Behaviour(breaks_after=2 * CHUNK_BYTES), Behaviour(breaks_after=CHUNK_BYTES), Behaviour()
    ) as web:
        await _download(web, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == DATA
    assert web.ranges == [None, f"bytes={2 * CHUNK_BYTES}-", f"bytes={3 * CHUNK_BYTES}-"]


async def test_a_server_that_ignores_ranges_begins_again(tmp_path: Path) -> None:
    """The part is replaced, not appended to."""
    (tmp_path / "part").write_bytes(DATA[:1000])
    with WebServer(DATA, Behaviour(ranges=False)) as web:
        await _download(web, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == DATA


async def test_a_complete_part_needs_no_more(tmp_path: Path) -> None:
    """The server says that nothing follows."""
    (tmp_path / "part").write_bytes(DATA)
    with WebServer(DATA) as web:
        await _download(web, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == DATA


async def test_a_part_longer_than_the_file_is_given_up(tmp_path: Path) -> None:
    """It cannot be the beginning of that file."""
    (tmp_path / "part").write_bytes(DATA + b"more")
    with WebServer(DATA) as web, pytest.raises(FetchError, match="another length"):
        await _download(web, tmp_path / "part")
    assert not (tmp_path / "part").exists()


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (Behaviour(body=LOGIN, headers=HTML, ranges=False), "web page"),
        (Behaviour(body=LOGIN, ranges=False), "they are kept"),
        (Behaviour(status=404), "404"),
        (Behaviour(status=503), "503"),
        (Behaviour(status=204, body=b""), "204"),
        (Behaviour(headers={"Content-Range": "bytes 7-9/10"}), "another part"),
        (Behaviour(headers={"Content-Range": "nonsense"}), "another part"),
        (Behaviour(headers={"Content-Encoding": "gzip"}), "encoded"),
        (Behaviour(breaks_after=0), "1000 bytes are kept"),
    ],
)
async def test_whatever_else_comes_never_replaces_the_part(behaviour: Behaviour, message: str, tmp_path: Path) -> None:
    """A login page of the network, an error, a broken proxy: the bytes that are here stay."""
    (tmp_path / "part").write_bytes(DATA[:1000])
    with WebServer(DATA, behaviour) as web, pytest.raises(FetchError, match=message):
        await _download(web, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == DATA[:1000]


async def test_more_than_expected_is_refused(tmp_path: Path) -> None:
    """Before the first byte where the server says so, else at the bound."""
    with WebServer(DATA) as web, pytest.raises(FetchError, match="at most 1000"):
        await _download(web, tmp_path / "part", limit_bytes=1000)
    assert not (tmp_path / "part").exists()
    with (
        WebServer(DATA, Behaviour(headers={"Content-Length": ""})) as web,
        pytest.raises(FetchError, match="more than 1000"),
    ):
        await _download(web, tmp_path / "part", limit_bytes=1000)
    assert (tmp_path / "part").stat().st_size <= 1000


async def test_too_little_space_is_said_before_the_first_byte(tmp_path: Path) -> None:
    """Nothing is written."""

    def full(to_come: int) -> None:
        raise NotEnoughSpaceError(to_come, 0, "here")

    with WebServer(DATA) as web, pytest.raises(NotEnoughSpaceError):
        await _download(web, tmp_path / "part", room=full)
    assert not (tmp_path / "part").exists()


async def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """As an error about the disk, not about the network."""
    with WebServer(DATA) as web, pytest.raises(StoreWriteError, match="nowhere"):
        await _download(web, tmp_path / "nowhere" / "part")


async def test_a_connection_that_keeps_breaking_is_given_up(tmp_path: Path) -> None:
    """However little each try brings, the number of tries is bounded, and what came is kept."""
    with WebServer(DATA, Behaviour(breaks_after=1)) as web, pytest.raises(FetchError, match="bytes are kept"):
        await _download(web, tmp_path / "part")
    assert len(web.ranges) == MAX_BREAKS + 1
    assert (tmp_path / "part").read_bytes() == DATA[: MAX_BREAKS + 1]


async def test_nobody_listening_is_a_clear_error(tmp_path: Path) -> None:
    """With the server's name."""
    with WebServer(DATA) as web:
        pass
    with pytest.raises(FetchError, match=r"127\.0\.0\.1"):
        await _download(web, tmp_path / "part")

"""The log: one line an event."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from device.logs import QUIET, STRANGERS, configure_logs
from tests.device.http.servers import connected, greet, serving


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, [logging.getLogger(name).level for name in (*QUIET, STRANGERS)]
    for name in ("uvicorn", STRANGERS):  # as in the daemon: a bare uvicorn in this process has configured its own
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    yield
    root.handlers[:], levels = before[0], before[2]
    root.setLevel(before[1])
    for name, level in zip((*QUIET, STRANGERS), levels, strict=True):
        logging.getLogger(name).setLevel(level)


def written(layout: Literal["text", "json"], *, level: Literal["debug", "info"] = "info") -> list[str]:
    """What some events look like."""
    stream = io.StringIO()
    configure_logs(level, layout, stream)
    log = logging.getLogger("device.test")
    log.debug("not shown")
    log.info("linked", extra={"peer": "k3v5\x1b[2J", "since": "a while ago", "seconds": 3})
    try:
        Path("/dev/full").write_text("x")
    except OSError:
        log.exception("not saved\nreally")
    logging.getLogger("zeroconf").info("a library about itself")
    return stream.getvalue().splitlines()


def test_text_is_one_line_an_event() -> None:
    """Fields follow as name=value; line breaks and escape codes are written out."""
    linked, failed = written("text")
    assert linked.endswith(r'INFO device.test: linked peer=k3v5\x1b[2J since="a while ago" seconds=3')
    assert r"ERROR device.test: not saved\nreally traceback=" in failed
    assert "No space left on device" in failed


def test_json_is_one_object_a_line() -> None:
    """With the same fields, readable by any log collector."""
    linked, failed = map(json.loads, written("json"))
    assert {"level": "info", "logger": "device.test", "message": "linked", "seconds": 3}.items() <= linked.items()
    assert linked["time"].endswith("Z")
    assert failed["traceback"].splitlines()[-1] == "OSError: [Errno 28] No space left on device"


def test_debug_lets_libraries_speak() -> None:
    """What is too much for every day is there when somebody looks for it."""
    assert "a library about itself" in written("text", level="debug")[-1]


@pytest.mark.parametrize(("level", "lines"), [("info", False), ("debug", True)])
async def test_strangers_write_nothing_into_the_log(level: Literal["debug", "info"], *, lines: bool) -> None:
    """Whatever they send that is no request, or asks for another protocol; who looks for it sees it."""
    stream = io.StringIO()
    configure_logs(level, "text", stream)
    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    async with serving(greet) as (_, port):
        for sent in (b"no request\r\n\r\n", upgrade):
            async with connected(port) as (reader, writer):
                writer.write(sent)
                assert (await reader.read()).startswith(b"HTTP/1.1 ")
    for words in ("Invalid HTTP request", "Unsupported upgrade request"):
        assert lines == (words in stream.getvalue())
    assert lines == bool(stream.getvalue())

"""Where pip would fetch a wheel from: asks pip itself, whose index, proxy and CA settings therefore apply.

pip only resolves (`--dry-run`); the wheel is fetched and opened by models.fetch and no code of it ever runs.
"""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass
from typing import Final

from models.core.manifest import is_sha256
from models.errors import FetchError
from models.reaping import reap

RESOLVE_TIMEOUT_S: Final = 180.0  # pip retries by itself within this
MAX_REPORT_BYTES: Final = 4 * 1024 * 1024  # a report repeats the package's whole description
MAX_COMPLAINT_BYTES: Final = 64 * 1024
_SCHEMES: Final = ("https:", "http:", "file:")  # plain http is safe: the content is checked, not the way


@dataclass(frozen=True)
class Wheel:
    """A wheel pip found: its address (https:, http: or file:) and its SHA-256."""

    url: str
    sha256: str


async def resolve(requirement: str) -> Wheel:
    """Ask pip for the wheel of NAME==VERSION.  Raises FetchError with pip's own words."""
    command = [
        *(sys.executable, "-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"),
        *("--dry-run", "--report", "-"),
        "--no-deps",
        "--ignore-installed",  # else a wheel that is installed already is left out of the report
        *("--only-binary", ":all:"),  # building an sdist would run its code
        requirement,
    ]
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    if process.stdout is None or process.stderr is None:
        raise AssertionError("both were asked for as pipes")
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            report, complaint = await asyncio.gather(
                _read(process.stdout, MAX_REPORT_BYTES), _read(process.stderr, MAX_COMPLAINT_BYTES)
            )
            status = await process.wait()
    except TimeoutError as error:
        raise FetchError(f"pip did not find {requirement} within {RESOLVE_TIMEOUT_S:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
        await reap(process)
    if status != 0:
        raise FetchError(f"pip cannot find {requirement}: {_last_error(complaint)}")
    return parse_report(report)


def parse_report(report: bytes) -> Wheel:
    """Take address and hash of the one wheel out of pip's report.  Raises FetchError."""
    try:
        fields = json.loads(report)
    except (ValueError, RecursionError) as error:
        raise FetchError("pip wrote no report that can be read") from error
    match fields:
        case {
            "install": [{"download_info": {"url": str(url), "archive_info": {"hashes": {"sha256": str(sha256)}}}}]
        } if url.startswith(_SCHEMES) and is_sha256(sha256):
            return Wheel(url, sha256)
    raise FetchError("pip's report names no single wheel with a SHA-256")


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    """Read to the end, keep the first `limit` bytes."""
    kept = b""
    while chunk := await stream.read(64 * 1024):
        kept += chunk[: limit - len(kept)]
    return kept


def _last_error(complaint: bytes) -> str:
    lines = complaint.decode(errors="replace").strip().splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it gave no reason"])[-1][:500]

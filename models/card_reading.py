"""The daemon's end of models.card_worker: what a GGUF file says of its model, read by a process of its own."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from models.core import canonical_json
from models.core.card import MAX_CARD_BYTES
from models.errors import WorkerDiedError, rebuild
from models.reaping import reap
from models.worker_process import board_memory_bytes, worker_environment

MAX_REPLY_BYTES: Final = 2 * MAX_CARD_BYTES
PROGRAM: Final = (
    sys.executable,
    "-I",  # neither the environment nor the working directory decides what is imported
    *("-m", "models.card_worker"),
)
WITHIN_S: Final = 300.0  # a vocabulary of 262,144 words on the smallest board, beside a busy engine


async def read_gguf(path: Path, *, program: Sequence[str] = PROGRAM, within_s: float = WITHIN_S) -> dict[str, object]:
    """Return the fields of a card that a GGUF file fills; they are as hostile as the file.

    Raises CorruptModelError, UnsupportedModelError as its reader does; WorkerDiedError when the process says nothing
    that can be understood.  Cancelling ends the process.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *program,
            str(path),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=DEVNULL,
            cwd="/",
            env=worker_environment(board_memory_bytes()),
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerDiedError(f"the process that reads a model's head cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(within_s):
            reply = await _until_end(cast("asyncio.StreamReader", process.stdout))
            if len(reply) <= MAX_REPLY_BYTES:
                await process.wait()
    except TimeoutError as error:
        raise WorkerDiedError(f"{path.name} was not read within {within_s:.0f} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)  # Popen's own would reap it, behind the loop's back
        await reap(process)
    return _known(reply)


async def _until_end(output: asyncio.StreamReader) -> bytes:
    """Read all that a process prints, or one byte more than is read."""
    try:
        return await output.readexactly(MAX_REPLY_BYTES + 1)
    except asyncio.IncompleteReadError as end:
        return end.partial


def _known(reply: bytes) -> dict[str, object]:
    try:
        value = canonical_json.loads(reply, limit_bytes=MAX_REPLY_BYTES)
    except ValueError as error:
        raise WorkerDiedError(f"the process that reads a model's head said nothing of use: {error}") from error
    match value:
        case {"known": dict(known)}:
            return known
        case {"error": str(code), "args": [str(what)]}:
            raise rebuild(code, [what])
    raise WorkerDiedError("the process that reads a model's head said something else")

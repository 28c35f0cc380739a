"""What a GGUF file says is read by another process, which may do anything."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from models.card_reading import read_gguf
from models.errors import CorruptModelError, ModelsError, UnsupportedModelError, WorkerDiedError
from tests.models.tiny import TinyModel, write_tiny
from tests.models.waiting import until

NOWHERE = Path("/nowhere.gguf")


def _scores_of_children() -> list[str]:
    """How soon the kernel ends each child of this process when memory runs out."""
    pids = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    return [Path(f"/proc/{pid}/oom_score_adj").read_text().strip() for pid in pids]


async def test_a_file_is_read(tmp_path: Path) -> None:
    """By the real process."""
    known = await read_gguf(write_tiny(tmp_path / "tiny.gguf", TinyModel(), {"general.license": "mit"}))
    assert (known["licence"], known["quantisation"]) == ("MIT", "Q4_1, Q8_0")


async def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    """The reader's own error comes across."""
    (tmp_path / "x.gguf").write_bytes(b"garbage!")
    with pytest.raises(CorruptModelError, match="not a GGUF file"):
        await read_gguf(tmp_path / "x.gguf")
    with pytest.raises(CorruptModelError, match="cannot be read"):
        await read_gguf(tmp_path / "absent.gguf")


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("", WorkerDiedError),
        ("print('garbage')", WorkerDiedError),
        ("print('{}', end='')", WorkerDiedError),
        ("print('{\"known\":[]}', end='')", WorkerDiedError),
        ("print('[' * 50000, end='')", WorkerDiedError),
        ("import itertools\nfor _ in itertools.count(): print('x' * 10000)", WorkerDiedError),
        ("import os; os.kill(os.getpid(), 9)", WorkerDiedError),
        ('print(\'{"args":["Q4_K"],"error":"UnsupportedModelError"}\', end=\'\')', UnsupportedModelError),
        ('print(\'{"args":["x"],"error":"PromptTooLongError"}\', end=\'\')', ModelsError),
        ('print(\'{"args":[1],"error":"UnsupportedModelError"}\', end=\'\')', WorkerDiedError),
    ],
)
async def test_a_process_that_says_something_else(program: str, error: type[ModelsError]) -> None:
    """It costs an error of ours, nothing more."""
    with pytest.raises(error):
        await read_gguf(NOWHERE, program=(sys.executable, "-c", program))


async def test_a_process_that_says_nothing() -> None:
    """It is ended."""
    with pytest.raises(WorkerDiedError, match="not read within"):
        await read_gguf(NOWHERE, program=(sys.executable, "-c", "import time; time.sleep(60)"), within_s=0.05)


async def test_a_process_that_cannot_be_started() -> None:
    """It is said why."""
    with pytest.raises(WorkerDiedError, match="No such file"):
        await read_gguf(NOWHERE, program=("/nowhere/python",))


async def test_the_process_is_confined(tmp_path: Path) -> None:
    """As the engine's is; a file that is a pipe keeps it busy until it is ended."""
    os.mkfifo(tmp_path / "pipe.gguf")
    reading = asyncio.create_task(read_gguf(tmp_path / "pipe.gguf"))
    score = (await asyncio.to_thread(Path("/proc/self/oom_score_adj").read_text)).strip()
    await until(lambda: any(int(child) > int(score) for child in _scores_of_children()))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not any(int(child) > int(score) for child in _scores_of_children())


async def test_a_cancel_ends_the_process(tmp_path: Path) -> None:
    """Nothing goes on for nobody."""
    pid = tmp_path / "pid"
    program = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    reading = asyncio.create_task(read_gguf(NOWHERE, program=(sys.executable, "-c", program)))
    await until(lambda: pid.exists() and bool(pid.read_text()))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)

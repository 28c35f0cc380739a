"""The daemon's end of a worker, with processes that misbehave in every way a compromised one could."""

import asyncio
import logging
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from models.core.request import GenerationRequest, Message, SamplingParams, TokensGenerated
from models.core.worker_protocol import MAX_REPORT_BYTES, Convert, Generate, Ready
from models.errors import EngineError, ModelsError, WorkerDiedError, WorkerProtocolError
from models.worker_process import CANCEL_WITHIN_S, MAX_LOG_LINES, WorkerProcess, worker_environment
from tests.models.waiting import until

ASK = Generate(GenerationRequest((Message("user", "Hello"),), SamplingParams()))
PREAMBLE = """
import os, socket, sys, time
channel = socket.socket(fileno=int(sys.argv[1]))
lines = channel.makefile("rb")
def report(text): channel.sendall(text.encode() + b"\\n")
order = lines.readline()
"""
EVENT = 'report(\'{"n":1,"event":"TokensGenerated","ids":[1],"text":"a"}\')\n'


@asynccontextmanager
async def _process(program: str, *, cancel_within_s: float = CANCEL_WITHIN_S) -> AsyncIterator[WorkerProcess]:
    """Run `program` in the worker's place, after it has read its first order."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PREAMBLE + program, str(theirs.fileno())),
            pass_fds=(theirs.fileno(),),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env={},  # killed processes would spoil the coverage data
        )
    reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_REPORT_BYTES)
    worker = WorkerProcess(process, reader, writer, cancel_within_s=cancel_within_s)
    try:
        yield worker
    finally:
        await worker.close()
    assert not worker.running


@pytest.mark.parametrize(
    "program",
    [
        "report('garbage')",
        "report('[' * 60000)",
        "channel.sendall(b'x' * 10_000_000)",
        """report('{"n":2,"event":"Ready"}')""",
        """report('{"n":1,"event":"Failed","code":"PromptTooLongError","args":["a"]}')""",
    ],
)
async def test_what_is_no_report_is_an_error(program: str) -> None:
    """Bytes from the worker never get further than this."""
    async with asyncio.timeout(30), _process(program) as worker:
        with pytest.raises(WorkerProtocolError):
            await worker.last(ASK)


@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("os._exit(3)", "status 3"),
        ("os.kill(os.getpid(), 11)", "Segmentation fault"),
        ("os.kill(os.getpid(), 40)", "Real-time signal"),
        ("""channel.sendall(b'{"n":1,"event":"Rea'); channel.close(); lines.close(); time.sleep(60)""", "Killed"),
    ],
)
async def test_the_end_of_the_process_is_an_error_that_says_how(program: str, how: str) -> None:
    """Whether it exits, crashes or closes its end in the midst of a line."""
    async with asyncio.timeout(30), _process(program) as worker:
        with pytest.raises(WorkerDiedError, match=how):
            await worker.last(ASK)
        with pytest.raises(WorkerDiedError):
            await worker.last(ASK)


async def test_a_failure_is_raised_as_itself() -> None:
    """The process goes on; the next order works."""
    program = """report('{"n":1,"event":"Failed","code":"EngineError","args":["no"]}'); lines.readline()
report('{"n":2,"event":"Ready"}')"""
    async with asyncio.timeout(30), _process(program) as worker:
        with pytest.raises(EngineError, match="no"):
            await worker.last(ASK)
        assert await worker.last(ASK) == Ready()


async def test_closing_early_cancels_and_reads_to_the_end() -> None:
    """The worker is idle when the generator is closed, and what was on its way is not taken for the next answer."""
    finished = (
        '{"n":1,"event":"GenerationFinished","reason":"cancelled",'
        '"prompt_tokens":1,"completion_tokens":1,"prefill_s":0,"decode_s":0,"cached_tokens":0}'
    )
    program = (
        EVENT * 3 + f"assert b'Cancel' in lines.readline()\nreport('{finished}')\n" + "lines.readline()\n"
        """report('{"n":2,"event":"Ready"}')"""
    )
    async with asyncio.timeout(30), _process(program) as worker:
        async with aclosing(worker.ask(ASK)) as events:
            assert isinstance(await anext(events), TokensGenerated)
        assert await worker.last(ASK) == Ready()


async def test_one_that_will_not_be_cancelled_is_killed() -> None:
    """Nobody waits for it: the process is of no use before long."""
    async with asyncio.timeout(30), _process(EVENT + "time.sleep(60)", cancel_within_s=0.1) as worker:
        events = worker.ask(ASK)
        await anext(events)
        await events.aclose()
        assert worker.running
        await until(lambda: not worker.running)


async def test_one_that_was_killed_is_of_no_use_from_then_on() -> None:
    """Before the system has said that it ended, so that no other question is asked there."""
    async with asyncio.timeout(30), _process(EVENT + "time.sleep(60)") as worker:
        async with aclosing(worker.ask(Convert("a", "b"))) as events:
            await anext(events)
        assert worker._process.returncode is None
        assert not worker.running


@pytest.mark.parametrize("code", ["UnforeseenError", "OutOfMemoryError"])
async def test_after_a_failure_that_took_the_model_it_is_of_no_use(code: str) -> None:
    """The next question gets another process."""
    program = f"""report('{{"n":1,"event":"Failed","code":"{code}","args":["no"]}}'); time.sleep(60)"""
    async with asyncio.timeout(30), _process(program) as worker:
        with pytest.raises(ModelsError, match="no"):
            await worker.last(ASK)
        assert worker.spent


async def test_only_an_answer_can_be_cancelled() -> None:
    """Anything else ends with its process."""
    program = """report('{"n":1,"event":"Progressed","fraction":0.5}'); time.sleep(60)"""
    async with asyncio.timeout(30), _process(program) as worker:
        async with aclosing(worker.ask(Convert("a", "b"))) as events:
            await anext(events)
        await until(lambda: not worker.running)


async def test_what_it_prints_is_logged_with_bounds(caplog: pytest.LogCaptureFixture) -> None:
    """A chatty process fills neither the log nor the memory."""
    caplog.set_level(logging.INFO, "models")
    program = """
print("hello")
print("long" * 1_000_000)
for _ in range(2000): print("\\x1b[2J" + "x" * 900)
sys.stdout.flush()
report('{"n":1,"event":"Ready"}')
channel.close(); lines.close()
"""
    async with asyncio.timeout(30), _process(program) as worker:
        assert await worker.last(ASK) == Ready()
        await until(lambda: len(caplog.records) >= MAX_LOG_LINES)
        await until(lambda: not worker.running)
    assert len(caplog.records) == MAX_LOG_LINES
    assert caplog.records[0].getMessage() == f"worker {worker.pid}: hello"
    assert all(len(record.getMessage()) < 600 and "\x1b" not in record.getMessage() for record in caplog.records)


def test_small_boards_keep_the_memory_that_huge_pages_cost() -> None:
    """Only the tunable differs; nothing of the daemon's environment is passed on."""
    small, large = worker_environment(500_000_000), worker_environment(2_000_000_000)
    assert set(large) - set(small) == {"GLIBC_TUNABLES"}
    assert set(small) == {"LANG", "MALLOC_ARENA_MAX", "OPENBLAS_NUM_THREADS"}

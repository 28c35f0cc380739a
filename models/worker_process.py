"""The daemon's end of one engine process: starts it, sends orders, reads reports, ends it.

Nothing the process does reaches further than an exception here: what it writes to its socket is parsed with
bounds, what it prints goes to the log with bounds, and if it falls silent it is killed.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final

from models.board import OVERRIDE
from models.core.request import GenerationFinished
from models.core.worker_protocol import (
    MAX_REPORT_BYTES,
    Cancel,
    Command,
    Event,
    Failed,
    Generate,
    GraphMissing,
    Order,
    Ready,
    Report,
    encode_order,
    parse_report,
)
from models.errors import ModelsError, OutOfMemoryError, UnforeseenError, WorkerDiedError, WorkerProtocolError

SILENCE_TIMEOUT_S: Final = 1800.0  # a long prompt on the smallest board, with room to spare
CANCEL_WITHIN_S: Final = 60.0  # one chunk of a prompt there
MAX_UNHEARD: Final = 4096  # reports on one order that wait to be read: who asked reads them as they come
DYING_S: Final = 1.0  # between the end of its socket and that of the process
MAX_LOG_LINES: Final = 200
MAX_LINE_BYTES: Final = 16 * 1024
MAX_LOG_CHARACTERS: Final = 500
_LAST: Final = (Ready, GraphMissing, GenerationFinished, Failed)
HUGE_PAGES_FROM_BYTES: Final = 900_000_000  # of the board's memory: they take some 30 MB more
_log = logging.getLogger(__name__)


def worker_environment(memory_bytes: int) -> dict[str, str]:
    """Give the environment of an engine's process on a board with so much memory: nothing of the daemon's own.

    Two arenas keep glibc from holding tens of megabytes a thread.  Weights in huge pages decode 5 % faster.  numpy's
    products are the converter's, and small: its threads would only spin for each other.
    """
    environment = {"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"}
    if memory_bytes >= HUGE_PAGES_FROM_BYTES:
        environment["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"  # read by glibc as the process starts
    return environment


def _passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """Give what the daemon's own environment may say to its engine: the forms of graphs."""
    return {OVERRIDE: environ[OVERRIDE]} if OVERRIDE in environ else {}


def board_memory_bytes() -> int:
    """Give the board's whole memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class WorkerProcess:
    """A running engine process, which takes several orders at a time; `close` it in the end, whatever happened."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        cancel_within_s: float = CANCEL_WITHIN_S,
    ) -> None:
        self._cancel_within_s = cancel_within_s
        self._process = process
        self._reader = reader
        self._writer = writer
        self._sending = asyncio.Lock()
        self._number = 0
        self._orders: dict[int, _Inbox] = {}  # those whose end has not been heard
        self._end: ModelsError | None = None  # why no more is heard
        self._killed = False
        self.spent = False
        """Whether something befell it after which it should get no more orders; those that run may end."""
        self._listening = asyncio.create_task(self._listen(), name=f"reports of worker {process.pid}")
        self._output = asyncio.create_task(self._log_output(), name=f"output of worker {process.pid}")

    @classmethod
    async def start(cls) -> "WorkerProcess":
        """Start a process that has loaded nothing yet."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-I",  # neither the environment nor the working directory decides what is imported
                    *("-m", "models.worker"),
                    *("--fd", str(theirs.fileno())),
                    pass_fds=(theirs.fileno(),),
                    stdin=DEVNULL,
                    stdout=PIPE,
                    stderr=STDOUT,
                    limit=MAX_LINE_BYTES,
                    cwd="/",
                    env=worker_environment(board_memory_bytes()) | _passed_on(os.environ),
                    start_new_session=True,  # the terminal's signals are for the daemon
                )
            except OSError as error:
                ours.close()
                raise WorkerDiedError(f"the engine's process cannot be started: {error.strerror}") from error
        reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_REPORT_BYTES)
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process can be asked: it has not ended, and is not about to because it was killed."""
        return self._process.returncode is None and not self._killed

    async def ask(self, command: Command) -> AsyncGenerator[Event, None]:
        """Send an order and yield its events up to the last; a failure is raised as the error it carries.

        Closing the generator early cancels a Generate, without waiting for it; it ends the process in the midst of
        anything else.
        Raises WorkerDiedError, WorkerProtocolError: the process is of no use afterwards.  After OutOfMemoryError and
        UnforeseenError it is `spent`.
        """
        self._number += 1
        number, inbox = self._number, _Inbox()
        self._orders[number] = inbox
        try:
            await self._send(Order(number, command))
            while not inbox.over:
                event = await self._next(inbox)
                if isinstance(event, Failed):
                    self.spent = self.spent or isinstance(event.error, OutOfMemoryError | UnforeseenError)
                    raise event.error
                yield event
        finally:
            if inbox.over or self._end is not None:
                self._orders.pop(number, None)
            elif isinstance(command, Generate):
                self._cancel(number, inbox)
            else:
                self._kill()  # nothing else listens for a cancel

    async def last(self, command: Command) -> Event:
        """Send an order and return its last event."""
        async with aclosing(self.ask(command)) as events:
            return [event async for event in events][-1]

    async def close(self) -> None:
        """End the process at once; it has nothing to save."""
        if self._process.returncode is None:
            self._kill()
        await self._process.wait()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        await asyncio.wait((self._listening, self._output))

    async def _send(self, order: Order) -> None:
        try:
            async with self._sending:
                self._writer.write(encode_order(order))
                await self._writer.drain()
        except OSError as error:
            raise await self._death() from error

    async def _next(self, inbox: "_Inbox") -> Event:
        """Wait for an order's next event, or for the end of all."""
        while not inbox.events:
            if self._end is not None:
                raise type(self._end)(str(self._end)) from self._end  # several hear of it
            inbox.news.clear()
            try:
                async with asyncio.timeout(SILENCE_TIMEOUT_S):
                    await inbox.news.wait()
            except TimeoutError as error:
                self._kill()
                raise WorkerDiedError(f"the engine was silent for {SILENCE_TIMEOUT_S:.0f} s") from error
        event = inbox.events.popleft()
        inbox.over = isinstance(event, _LAST)
        return event

    async def _listen(self) -> None:
        """Hand each report to whoever gave the order; at the end tell all why there are no more."""
        try:
            while True:
                self._deliver(await self._receive())
        except ModelsError as error:
            self._end = error
        finally:
            self._end = self._end or WorkerDiedError("the engine's process was given up")
            for inbox in self._orders.values():
                inbox.stop_waiting()
                inbox.news.set()

    async def _receive(self) -> Report:
        try:
            line = await self._reader.readline()
        except ValueError as error:
            raise WorkerProtocolError(f"the engine sent more than {MAX_REPORT_BYTES} bytes in one report") from error
        except OSError as error:
            raise await self._death() from error
        if not line.endswith(b"\n"):
            raise await self._death()
        return parse_report(line)

    def _deliver(self, report: Report) -> None:
        inbox = self._orders.get(report.number)
        if inbox is None or len(inbox.events) >= MAX_UNHEARD:
            raise WorkerProtocolError(f"the engine reported on order {report.number}, from which nothing was expected")
        if not inbox.cancelled:
            inbox.events.append(report.event)
            inbox.news.set()
        elif isinstance(report.event, _LAST):
            inbox.stop_waiting()
            del self._orders[report.number]

    def _cancel(self, number: int, inbox: "_Inbox") -> None:
        """Tell the process to finish early, and read no more of what it reports; one that does not finish is killed."""
        if any(isinstance(event, _LAST) for event in inbox.events):
            del self._orders[number]
            return
        inbox.events.clear()
        inbox.patience = asyncio.get_running_loop().call_later(self._cancel_within_s, self._kill)
        self._writer.write(encode_order(Order(number, Cancel())))

    def _kill(self) -> None:
        self._killed = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _death(self) -> WorkerDiedError:
        """Say how the process ended, which it has or is about to."""
        try:
            # Not killed at once: Popen's kill would take the exit status away from asyncio, which then makes one up.
            async with asyncio.timeout(DYING_S):
                status = await self._process.wait()
        except TimeoutError:
            self._kill()
            status = await self._process.wait()
        how = (signal.strsignal(-status) or f"signal {-status}") if status < 0 else f"status {status}"
        return WorkerDiedError(f"the engine's process ended in mid-answer ({how})")

    async def _log_output(self) -> None:
        """Log what the process prints, as far as anyone would read it, and swallow the rest."""
        stream = self._process.stdout
        if stream is None:
            raise AssertionError("it was asked for as a pipe")
        lines = 0
        while True:
            try:
                line = (await stream.readline()).rstrip(b"\n")
            except ValueError:
                continue  # longer than the stream's limit, and gone
            if stream.at_eof() and not line:
                return
            if lines < MAX_LOG_LINES:
                lines += 1
                text = line.decode(errors="replace").encode("unicode_escape").decode("ascii")  # nothing for a terminal
                _log.info("worker %d: %s", self.pid, text[:MAX_LOG_CHARACTERS])


class _Inbox:
    """What the process has reported on one order and nobody has read.  patience: until when a cancel must be heard."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self.news = asyncio.Event()
        self.over = False
        self.patience: asyncio.TimerHandle | None = None

    @property
    def cancelled(self) -> bool:
        """Whether nobody reads any more."""
        return self.patience is not None

    def stop_waiting(self) -> None:
        """The end has been heard, or never will be."""
        if self.patience is not None:
            self.patience.cancel()

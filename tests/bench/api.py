"""The API against the engine behind it, and against llama.cpp's own HTTP server (xllamacpp) on the same file.

The engine's own rate is measured in a process without daemon and HTTP, in turns with the API; the two servers take
turns as well.  What a client hears is read with the standard library's client, which adds little of its own.
"""

import asyncio
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from models.board import board_profile
from models.catalogue import Catalogue
from models.core.request import GenerationRequest, Message, SamplingParams, TokensGenerated
from models.engine import Engine
from models.fetch import cache_directory
from models.gguf import GgufFile
from models.graph_cache import GraphCache
from models.key_value_scales import KeyValueScales
from models.session import RUNTIME_VERSION
from models.store import ModelStore
from models.templates import ChatTemplate
from models.tokenizer import Tokenizer
from models.worker_process import board_memory_bytes, worker_environment
from tests.bench.processes import cpu_s, resident_mb
from tests.bench.rows import Row
from tests.e2e.hearths import Hearth
from tests.models.alone import Alone
from tests.models.llama_cpp import LlamaCpp

MODEL = "smollm2-135m"
THREADS = 2
ANSWER_TOKENS = 96
SHORT_TOKENS = 8
ROUNDS = 5
PAIRS = 15  # what is left of a hundred is a matter of a few per cent
CONTEXT_TOKENS = 1024
CLIENTS = 8
IDLE_CLIENTS = 200
IDLE_QUEUE = 2 * IDLE_CLIENTS  # of which one client may have half
IDLE_S = 5.0
WITHIN_S = 300.0
PEER = "xllamacpp"


@dataclass(frozen=True)
class Heard:
    """One streamed answer as its client heard it: seconds from asking to the first and the last words."""

    first_s: float
    last_s: float
    tokens: int
    prefill_s: float = 0.0

    @property
    def rate(self) -> float:
        """Tokens a second after the first."""
        return (self.tokens - 1) / (self.last_s - self.first_s)


def rows() -> list[Row]:
    """Measure everything of this area, with a daemon of its own."""
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as folder, ExitStack() as stack:
        env = {"HEARTH_ENGINE_THREADS": str(THREADS), "HEARTH_ENGINE_CONTEXT_TOKENS": str(CONTEXT_TOKENS)}
        hearth = stack.enter_context(Hearth(Path(folder) / "api", name="api", env=env))
        hearth.run("models", "pull", MODEL)
        ours = "http://{host}:{port}".format(**hearth.json("status")["http"])
        gguf = ModelStore(hearth.data_dir / "models").blob_path(Catalogue.load().find(MODEL).sha256)
        _ask(ours, "warm up", SHORT_TOKENS)
        engine = stack.enter_context(Child("engine", str(gguf)))
        alone = _against_engine(ours, engine)
        engine.close()
        peer = stack.enter_context(Child("peer", str(gguf)))
        address = peer.told()
        beside = [_side_by_side(ours, address, clients=clients) for clients in (1, CLIENTS)]
        peer.close()
        hearth.stop()
        env |= {"HEARTH_QUEUE_WAITING": str(IDLE_QUEUE), "HEARTH_ENGINE_SLOTS": "1"}
        patient = stack.enter_context(Hearth(Path(folder) / "api", name="api", env=env))
        ours = "http://{host}:{port}".format(**patient.json("status")["http"])
        _ask(ours, "warm up", SHORT_TOKENS)
        return [*alone, *beside, *asyncio.run(_idle(ours, patient.pid))]


def _against_engine(ours: str, engine: "Child") -> list[Row]:
    """What daemon, pipes and HTTP cost: of the rate of an answer, and of the time to its first words."""
    engine.ask()
    pairs = [(_ask(ours, "a lighthouse", ANSWER_TOKENS).rate, engine.ask()) for _ in range(PAIRS)]
    rate, own = (statistics.median(values) for values in zip(*pairs, strict=True))
    asked = [_ask(ours, f"number {number}", SHORT_TOKENS) for number in range(4 * ROUNDS)]
    overhead_ms = 1000 * statistics.median(heard.first_s - heard.prefill_s for heard in asked)
    return [
        Row(
            name="API streaming, one client",
            value=round(rate, 1),
            unit="tokens/s",
            goal=">= 0.97x",
            peer="the engine alone",
            peer_value=round(own, 1),
            ratio=round(rate / own, 3),
        ),
        Row(name="first words beyond the engine's reading", value=round(overhead_ms, 2), unit="ms", goal="<= 5"),
    ]


def _side_by_side(ours: str, peer: str, *, clients: int) -> Row:
    """Let both servers answer so many clients at once, in turns; all their tokens over all the time."""
    for address in (ours, peer):
        _together(address, clients)
    pairs = [(_together(ours, clients), _together(peer, clients)) for _ in range(ROUNDS)]
    value, peer_value = (statistics.median(values) for values in zip(*pairs, strict=True))
    return Row(
        name=f"HTTP, {clients} client{'s' * (clients > 1)}",
        value=round(value, 1),
        unit="tokens/s",
        peer=PEER,
        peer_value=round(peer_value, 1),
        ratio=round(value / peer_value, 2),
    )


def _together(address: str, clients: int) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        heard = list(pool.map(lambda number: _openai(address, f"number {number}", ANSWER_TOKENS), range(clients)))
    return sum(heard) / (time.perf_counter() - started)


async def _idle(ours: str, pid: int) -> list[Row]:
    """Open streams in which nothing comes but their places: all but the first wait for their turn."""
    parts = urlsplit(ours)
    body = _body("patience", CONTEXT_TOKENS)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
    before_mb, before_s = resident_mb(pid), cpu_s(pid)
    streams = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(IDLE_CLIENTS)]
    for _, writer in streams:
        writer.write(head.encode() + body)
    held = sum(await asyncio.gather(*(_is_taken(reader) for reader, _ in streams)))
    joined_ms = 1000 * (cpu_s(pid) - before_s) / IDLE_CLIENTS
    before_s = cpu_s(pid)
    await asyncio.sleep(IDLE_S)
    percent = 100 * (cpu_s(pid) - before_s) / IDLE_S
    waiting = _metric(ours, "hearth_queries_waiting")
    grown_mb = resident_mb(pid) - before_mb
    for _, writer in streams:
        writer.close()
    name = f"{IDLE_CLIENTS} clients that wait"
    return [
        Row(name=f"{name}: how many are held", value=held, unit="streams", goal=f">= {IDLE_CLIENTS}"),
        Row(name=f"{name}: of them in the queue", value=waiting, unit="questions"),
        Row(name=f"{name}: daemon's work for each that comes", value=round(joined_ms, 2), unit="ms", goal="<= 10"),
        Row(name=f"{name}: memory of the daemon for it", value=round(grown_mb, 1), unit="MB"),
        Row(name=f"{name}: daemon, one answer running", value=round(percent, 1), unit="% of a core"),
    ]


async def _is_taken(reader: asyncio.StreamReader) -> bool:
    """Wait until a stream is told its place or its first words; False where it is refused."""
    if b" 200 " not in await reader.readline():
        return False
    while line := await reader.readline():
        if line.startswith((b": queue ", b"data: ")):
            return True
    return False


def _ask(address: str, about: str, tokens: int) -> Heard:
    """Ask our daemon in Ollama's words, whose end tells how long the engine read."""
    asked = {"model": MODEL, "messages": _messages(about), "options": {"num_predict": tokens}}
    first = last = 0.0
    started = time.perf_counter()
    for line in _lines(address, "/api/chat", asked):
        last = time.perf_counter() - started
        first = first or last
        fields = json.loads(line)
        if fields["done"]:
            return Heard(first, last, fields["eval_count"], fields["prompt_eval_duration"] / 1e9)
    raise RuntimeError("an answer without an end")


def _openai(address: str, about: str, tokens: int) -> int:
    """Ask either server in OpenAI's words; return how many tokens it gave."""
    asked = json.loads(_body(about, tokens))
    usage = [
        json.loads(line[6:]).get("usage") for line in _lines(address, "/v1/chat/completions", asked) if b"{" in line
    ]
    return int(next(one for one in usage if one)["completion_tokens"])


def _body(about: str, tokens: int) -> bytes:
    options = {"stream": True, "stream_options": {"include_usage": True}, "temperature": 0}
    return json.dumps({"model": MODEL, "messages": _messages(about), "max_tokens": tokens, **options}).encode()


def _messages(about: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Tell me a very long story about {about}."}]


def _lines(address: str, path: str, asked: dict[str, Any]) -> Iterator[bytes]:
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=WITHIN_S)) as connection:
        connection.request("POST", path, json.dumps(asked), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        while line := reply.readline():
            if line.strip():
                yield line


def _metric(address: str, name: str) -> float:
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=WITHIN_S)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


class Child:
    """A process that is told and tells by the line: the engine alone, or the peer's server."""

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.api", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **(worker_environment(board_memory_bytes()) if words[0] == "engine" else {})},
        )

    def told(self) -> str:
        """Wait for the child's next figure or address."""
        assert self._process.stdout
        for line in self._process.stdout:  # libraries print banners between
            if line.startswith("told "):
                return line.split()[1]
        raise RuntimeError("the child ended")

    def ask(self) -> float:
        """Have an answer made; its tokens a second."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self.told())

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def __enter__(self) -> Self:
        """Return the running child."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it if it has not ended."""
        if self._process.poll() is None:
            self.close()


def _be_engine(gguf: Path) -> None:
    """Answer once for each line, with the graph that the daemon has made, and tell how fast."""
    graph = GraphCache(
        cache_directory(os.environ) / "graphs", runtime=RUNTIME_VERSION, profile=board_profile(os.environ)
    ).path(gguf)
    engine = Engine(graph, threads=THREADS, context_tokens=CONTEXT_TOKENS, scales=KeyValueScales.load(graph))
    with GgufFile.open(gguf) as file:
        tokenizer = Tokenizer.from_gguf(file)
        source = str(file.metadata["tokenizer.chat_template"])
    template = ChatTemplate(source, bos_token=tokenizer.bos_token, eos_token=tokenizer.eos_token)
    generator = Alone(engine, tokenizer, template)
    messages = tuple(Message(one["role"], one["content"]) for one in _messages("a lighthouse"))
    request = GenerationRequest(messages, SamplingParams(max_tokens=ANSWER_TOKENS))
    for _ in sys.stdin:
        came = [
            (time.perf_counter(), len(event.ids))
            for event in generator.generate(request)
            if isinstance(event, TokensGenerated)
        ]
        rate = sum(tokens for _, tokens in came[1:]) / (came[-1][0] - came[0][0])
        sys.stdout.write(f"told {rate}\n")
        sys.stdout.flush()


def _be_peer(gguf: Path) -> None:
    """Serve until the standard input ends."""
    with LlamaCpp(gguf, threads=THREADS, context_tokens=CONTEXT_TOKENS * CLIENTS, slots=CLIENTS) as server:
        sys.stdout.write(f"told {server.address}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1] == "engine":
        _be_engine(Path(sys.argv[2]))
    else:
        _be_peer(Path(sys.argv[2]))

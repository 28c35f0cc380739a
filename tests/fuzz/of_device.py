"""Entry points of the device: questions from neighbours, bodies over HTTP, the owner's configuration."""

import contextlib
import functools
import json
import tempfile
from pathlib import Path

from device.config import FILE_NAME, load_config
from device.core import contribution_messages, sharing_messages
from device.core.access import LOOPBACK_NAMES, check_host
from device.core.chat_request import ChatRequest, parse_chat_request
from device.core.completion_request import parse_completion_request
from device.core.json_fields import parse_object as object_of
from device.core.ollama_request import parse_ollama_chat, parse_ollama_generate
from device.core.query_messages import Status, parse_message
from device.errors import BadRequestError, ConfigError, ForbiddenError, NeighbourMisbehavedError
from device.http.openapi import OPERATIONS
from tests.fuzz.target import Target
from tests.vectors.reading import cases, data_of, invalid

CHAT = b"""{"model": "default", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content":
[{"type": "text", "text": "Hi"}]}], "temperature": 0.7, "top_p": 0.9, "max_tokens": 5, "stop": ["\\n"], "seed": -1,
"stream": true, "stream_options": {"include_usage": true}, "hearthmesh": {"node": "local"}, "n": 1}"""
ASKING = ("/v1/chat/completions", "/v1/completions", "/api/chat", "/api/generate")  # in the order of parse_asked
TOML = b"""[node]
name = "kitchen"
[http]
port = 4327
[mqtt]
port = 8883
broker = "amqtt"
[discovery]
interfaces = ["eth0", "auto"]
peers = ["10.0.0.2:8884"]
[engine]
threads = 2
context_tokens = 1024
[log]
level = "debug"
format = "json"
"""


def parse_question(data: bytes) -> None:
    """A device message; the first byte is its kind, 0 an announced status.  What is taken writes itself back."""
    if not data:
        return
    kind, body = data[0], data[1:]
    with contextlib.suppress(NeighbourMisbehavedError):
        if kind == 0:
            status = Status.parse(body)
            assert Status.parse(status.to_body()) == status
            return
        message = parse_message(kind, body)
        if message is not None:
            assert parse_message(kind, message.to_body()) == message


def parse_shared(data: bytes) -> None:
    """A message about a model on its way; the first byte is its kind.  What is taken writes itself back."""
    if not data:
        return
    with contextlib.suppress(NeighbourMisbehavedError):
        message = sharing_messages.parse_message(data[0], data[1:])
        if message is not None:
            assert message == sharing_messages.parse_message(data[0], message.to_body())


def parse_claimed(data: bytes) -> None:
    """A message about a contribution; the first byte is its kind.  What is taken writes itself back."""
    if not data:
        return
    with contextlib.suppress(NeighbourMisbehavedError):
        message = contribution_messages.parse_message(data[0], data[1:])
        if message is not None:
            assert message == contribution_messages.parse_message(data[0], message.to_body())
            assert message.to_body() == data[1:]


def parse_asked(data: bytes) -> None:
    """A body of each of the ways to ask, chosen by the first byte."""
    parsers = (parse_chat_request, parse_completion_request, _ollama_chat, _ollama_generate)
    with contextlib.suppress(BadRequestError):
        chat = parsers[(data or b"\0")[0] % len(parsers)](data[1:])
        assert chat.model.isprintable()
        assert chat.generation.sampling.max_tokens > 0
        for message in chat.generation.messages:
            message.content.encode()
        for tool in chat.generation.tools:
            tool.encode()


def _ollama_chat(data: bytes) -> ChatRequest:
    return parse_ollama_chat(data).question


def _ollama_generate(data: bytes) -> ChatRequest:
    return parse_ollama_generate(data).question


def parse_object(data: bytes) -> None:
    """Any body with a JSON object in it."""
    with contextlib.suppress(BadRequestError):
        assert isinstance(object_of(data), dict)


def parse_host_header(data: bytes) -> None:
    """A Host header: what passes is a name of this machine."""
    text = data.decode("latin-1")
    with contextlib.suppress(ForbiddenError):
        check_host(text, LOOPBACK_NAMES)
        assert text.lower().startswith(("127.0.0.1", "localhost", "[::1]"))


@functools.cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="hearth-fuzz-"))


def parse_config(data: bytes) -> None:
    """A hearth.toml."""
    (_folder() / FILE_NAME).write_bytes(data)
    with contextlib.suppress(ConfigError):
        config = load_config(_folder(), env={}, system_folder=_folder() / "none")
        assert 0 <= config.http.port <= 65_535


TARGETS = (
    Target(
        parse_question,
        lambda: [bytes([case["kind"]]) + data_of(case) for case in (*cases("questions"), *invalid("questions"))],
    ),
    Target(
        parse_shared,
        lambda: [bytes([case["kind"]]) + data_of(case) for case in (*cases("sharing"), *invalid("sharing"))],
    ),
    Target(
        parse_claimed,
        lambda: [
            bytes([case["kind"]]) + data_of(case) for case in (*cases("contributions"), *invalid("contributions"))
        ],
    ),
    Target(
        parse_asked,
        lambda: [
            bytes([place]) + json.dumps(example).encode()
            for place, path in enumerate(ASKING)
            for operation in OPERATIONS
            if operation.path == path
            for example in operation.examples.values()
        ],
    ),
    Target(parse_object, lambda: [CHAT]),
    Target(parse_host_header, lambda: [b"127.0.0.1:4327", b"localhost", b"[::1]:80", b"127.0.0.1.evil.example"]),
    Target(parse_config, lambda: [TOML]),
)

"""What it costs a token of the real vocabulary that an answer must fit a schema."""

import json
import statistics
import time
from pathlib import Path

from models.constraints import Constraints
from models.core.grammars import answer_grammar
from models.core.request import GenerationRequest, Message, SamplingParams
from models.gguf import GgufFile
from models.tokenizer import Tokenizer
from tests.bench.rows import Row

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string"}, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "required": ["street", "zip"],
        },
    },
    "required": ["name", "age", "tags", "address"],
}
ANSWER = {
    "name": "Ada Lovelace",
    "age": 36,
    "tags": ["mathematician", "writer of the first program"],
    "address": {"street": "12 St James Square, London", "zip": "12345"},
}
ROUNDS = 7


def rows(gguf: Path) -> list[Row]:
    """Follow one answer ROUNDS times and give the medians over its tokens, in microseconds."""
    with GgufFile.open(gguf) as file:
        tokenizer = Tokenizer.from_gguf(file)
    request = GenerationRequest((Message("user", "x"),), SamplingParams(), schema=json.dumps(SCHEMA))
    grammar = answer_grammar(request, in_tags=True)
    if grammar is None:
        raise AssertionError("a schema has a grammar")
    started = time.perf_counter()
    constraints = Constraints(tokenizer)
    prepared = time.perf_counter() - started
    ids = tokenizer.encode(json.dumps(ANSWER), special=False)
    compiled: list[float] = []
    masks: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        matcher = constraints.matcher(grammar, of="schema")
        compiled.append(time.perf_counter() - started)
        for token in ids:
            started = time.perf_counter()
            matcher.allowed()
            matcher.add(token)
            masks.append(time.perf_counter() - started)
    masks.sort()
    return [
        Row(name="schema: mask a token", value=round(statistics.median(masks) * 1e6, 1), unit="us"),
        Row(name="schema: mask a token, 99th percentile", value=round(masks[-len(masks) // 100] * 1e6, 1), unit="us"),
        Row(name="schema: compile", value=round(statistics.median(compiled) * 1000, 2), unit="ms"),
        Row(name="schema: prepare the vocabulary, once", value=round(prepared * 1000), unit="ms"),
    ]

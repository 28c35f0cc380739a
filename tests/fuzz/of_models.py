"""Entry points of models: files from anywhere, and lines from a worker that has read one."""

import contextlib
import functools
import hashlib
import io
import shutil
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type

from models.architecture import FAMILIES
from models.bundle import BundleReader, bundle_of, bundle_pieces
from models.constraints import Constraints
from models.core.board_profile import BoardProfile
from models.core.bundle import END, HEAD, Bundle, documents_of, header, padding
from models.core.grammars import answer_grammar
from models.core.graph_info import MODEL_FILE
from models.core.hash_tree import CHUNK_BYTES, KnownTree
from models.core.manifest import Blob, Manifest
from models.core.request import (
    GenerationFinished,
    GenerationRequest,
    Message,
    SamplingParams,
    TokenLogprob,
    TokensGenerated,
    ToolCall,
)
from models.core.tool_calls import ToolCallReader
from models.core.worker_protocol import (
    Command,
    Convert,
    Event,
    Failed,
    Generate,
    Load,
    Order,
    Progressed,
    Ready,
    Report,
    encode_order,
    encode_report,
    parse_order,
    parse_report,
)
from models.errors import (
    InvalidBundleError,
    InvalidManifestError,
    InvalidRequestError,
    ModelsError,
    PromptTooLongError,
    WorkerProtocolError,
)
from models.gguf import GgufFile
from models.graph import convert
from models.key_value_scales import KeyValueScales
from models.store import ModelStore
from models.tokenizer import Tokenizer
from tests.fuzz.target import Target
from tests.models.tiny import PIECES_SIZE, SENTENCE_PIECE, TinyModel, write_tiny


@functools.cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="hearth-fuzz-"))


def parse_gguf(data: bytes) -> None:
    """A model file: every tensor that it names lies inside it."""
    path = _folder() / "model.gguf"
    path.write_bytes(data)
    with contextlib.suppress(ModelsError), GgufFile.open(path) as file:
        for name, tensor in file.tensors.items():
            assert tensor.offset + tensor.nbytes <= len(data)
            assert file.data(name).nbytes == tensor.nbytes


def convert_gguf(data: bytes) -> None:
    """A model file that becomes a graph in both forms, or an error that says what is wrong."""
    path, graph = _folder() / "converted.gguf", _folder() / "graph"
    path.write_bytes(data)
    with contextlib.suppress(ModelsError):
        convert(path, graph, profile=BoardProfile.parse("exact/int8"), spare_bytes=0)
        assert (graph / MODEL_FILE).exists()
    shutil.rmtree(graph, ignore_errors=True)


def read_vocabulary(data: bytes) -> None:
    """A model file's tokens: what they are cut into, and what that spells, is a text."""
    path = _folder() / "vocabulary.gguf"
    path.write_bytes(data)
    with contextlib.suppress(ModelsError):
        with GgufFile.open(path) as file:
            tokenizer = Tokenizer.from_gguf(file)
        ids = tokenizer.encode("the <s> sand\n\u00e9", special=True)
        assert all(0 <= token < tokenizer.size for token in ids)
        tokenizer.decode(range(tokenizer.size))


def _tiny(model: TinyModel, metadata: Mapping[str, object] | None = None) -> bytes:
    return write_tiny(_folder() / "seed.gguf", model, metadata).read_bytes()


def _small_models() -> list[bytes]:
    """Of each family, and a few kinds of blocks."""
    kinds = (Type.Q4_1, Type.Q5_0, Type.Q8_0)
    small = TinyModel(layers=1, width=32, feed_forward=32, heads=2, kv_heads=1)
    return [
        _tiny(replace(small, family=family, matrices=kinds[at % 3], embedding=kinds[at % 3]))
        for at, family in enumerate(FAMILIES)
    ]


def parse_manifest(data: bytes) -> None:
    """A manifest: what is taken is written in one way."""
    with contextlib.suppress(InvalidManifestError):
        assert Manifest.parse(data).to_bytes() == data


@functools.cache
def _tree() -> KnownTree:
    return KnownTree.of_leaves(1030 * CHUNK_BYTES, (index.to_bytes(32, "big") for index in range(1030)))


def parse_hash_tree(data: bytes) -> None:
    """Pages kept on the disk or sent by a neighbour: what is believed belongs to the tree."""
    whole = _tree()
    known = KnownTree.load(whole.geometry.size, whole.root, data)
    assert all(known.page(page) == whole.page(page) for page in known.known)


def parse_bundle(data: bytes) -> None:
    """A file from a stick: what is installed is what it says, and nothing is left of what is not."""
    root = Path(tempfile.mkdtemp(dir=_folder()))
    store = ModelStore(root)
    try:
        model = BundleReader(io.BytesIO(data)).install(store)
    except ModelsError:
        assert not [path for path in root.rglob("*") if path.is_file()]
    else:
        documents = store.documents(model.digest)
        assert b"".join(bundle_pieces(bundle_of(model, documents), store, documents)) == data
    shutil.rmtree(root)


def parse_bundle_head(data: bytes) -> None:
    """The head of a bundle: what is taken is written in one way."""
    with contextlib.suppress(InvalidBundleError):
        assert Bundle.parse(data).to_bytes() == data


def parse_worker_report(data: bytes) -> None:
    """A line from the worker."""
    with contextlib.suppress(WorkerProtocolError):
        report = parse_report(data)
        assert parse_report(encode_report(report)).number == report.number


def parse_worker_order(data: bytes) -> None:
    """A line from the daemon."""
    with contextlib.suppress(WorkerProtocolError, InvalidRequestError):
        order = parse_order(data)
        assert parse_order(encode_order(order)) == order


@functools.cache
def _constraints() -> Constraints:
    with GgufFile.open(write_tiny(_folder() / "tiny.gguf", TinyModel())) as file:
        return Constraints(Tokenizer.from_gguf(file))


def compile_schema(data: bytes) -> None:
    """A schema that an answer must fit: it is followed, or refused."""
    with contextlib.suppress(InvalidRequestError):
        request = GenerationRequest((), SamplingParams(), prompt="Once", schema=data.decode(errors="replace"))
        _constraints().matcher(answer_grammar(request, in_tags=True) or "", of="schema")


def parse_scales(data: bytes) -> None:
    """Scales kept beside a graph: positive numbers, written in one way."""
    scales = KeyValueScales.from_bytes(data)
    assert scales is None or ((scales.values > 0).all() and scales.to_bytes() == data)


def read_tool_calls(data: bytes) -> None:
    """An answer's text: calls of known tools only, and nothing lost where there are none."""
    text = data.decode(errors="replace")
    reader = ToolCallReader(["weather"], id_prefix="c")
    pieces = [piece for letter in text for piece in reader.feed(letter)] + reader.finish()
    calls = [piece for piece in pieces if isinstance(piece, ToolCall)]
    assert all(call.name == "weather" for call in calls)
    assert calls or "".join(piece for piece in pieces if isinstance(piece, str)) == text


def _gguf() -> bytes:
    """A file of two keys and one tensor of 32 weights."""

    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 2)
    name = text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
    tokens = text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"b")
    tensor = text(b"t") + struct.pack("<IQIQ", 1, 32, 8, 0)
    whole = head + name + tokens + tensor
    return whole + bytes(-len(whole) % 32) + bytes(34)


def _bundle_head() -> Bundle:
    weights = hashlib.sha256(b"weights").hexdigest()
    return Bundle(
        name="tiny",
        manifest=Manifest.of([Blob("gguf", weights, 7)]),
        licence="MIT",
        description="",
        source="",
        documents=documents_of({"card.json": b"{}"}),
    )


def _bundle() -> bytes:
    bundle = _bundle_head()
    contents = [(HEAD, bundle.to_bytes()), ("card.json", b"{}"), (bundle.blobs[0].name, b"weights")]
    members = (header(name, len(data)) + data + bytes(padding(len(data))) for name, data in contents)
    return b"".join(members) + END


def _orders() -> list[bytes]:
    request = GenerationRequest((Message("user", "Hi"),), SamplingParams(stop=("\n",)))
    load = Load(gguf="a", graphs="b", template=None, threads=1, context_tokens=64, slots=1, prefix_bytes=0)
    turns = (Message("assistant", "", (ToolCall("c", "f", '{"x":1}'),)), Message("tool", "no", (), "c"))
    tool = '{"type":"function","function":{"name":"f"}}'
    wishing = GenerationRequest(turns, SamplingParams(), tools=(tool,), schema='{"type":"object"}', logprobs=2)
    raw = GenerationRequest((), SamplingParams(), prompt="Once")
    commands: list[Command] = [Convert("a", "b"), load, Generate(request), Generate(wishing), Generate(raw)]
    return [encode_order(Order(number, one)) for number, one in enumerate(commands)]


def _reports() -> list[bytes]:
    end = GenerationFinished(reason="stop", prompt_tokens=1, completion_tokens=2, prefill_s=0.1, decode_s=0.2)
    events: list[Event] = [
        Ready(),
        Progressed(0.5),
        TokensGenerated((1, 2), "x"),
        TokensGenerated((1,), "x", (TokenLogprob(b"x", -0.5, ((b"x", -0.5),)),)),
        end,
        Failed(PromptTooLongError(3, 2)),
    ]
    return [encode_report(Report(number, event)) for number, event in enumerate(events)]


TARGETS = (
    Target(parse_scales, lambda: [KeyValueScales(np.ones((1, 2, 1, 16), np.float32)).to_bytes()]),
    Target(parse_gguf, lambda: [_gguf()]),
    Target(convert_gguf, _small_models),
    Target(
        read_vocabulary,
        lambda: [
            _tiny(TinyModel(layers=0)),
            _tiny(TinyModel(layers=0, vocabulary=PIECES_SIZE), SENTENCE_PIECE),
        ],
    ),
    Target(parse_manifest, lambda: [Manifest.of([Blob("gguf", "0" * 64, 5)]).to_bytes()]),
    Target(parse_hash_tree, lambda: [_tree().to_bytes(), _tree().to_bytes()[:37]]),
    Target(parse_bundle, lambda: [_bundle()]),
    Target(parse_bundle_head, lambda: [_bundle_head().to_bytes()]),
    Target(read_tool_calls, lambda: [b'x<tool_call>{"name": "weather", "arguments": {"a": "}"}}</tool_call>']),
    Target(
        compile_schema, lambda: [b'{"type":"object","properties":{"a":{}},"required":["a",[]],"anyOf":[{"items":{}}]}']
    ),
    Target(parse_worker_report, _reports),
    Target(parse_worker_order, _orders),
)

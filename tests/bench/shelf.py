"""The models that the engine is measured with, kept from one run to the next in the cache directory.

The catalogue's default model as it is (Q4_1) and requantised (Q4_0), and a model of Llama 3.2 1B's dimensions in both
forms.  What the latter says is noise; what it costs is not.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path
from string import ascii_lowercase

import gguf
from gguf import GGMLQuantizationType as Type

from models.catalogue import Catalogue
from models.core.manifest import GGUF, Blob, Manifest
from models.errors import ModelNotFoundError
from models.fetch import cache_directory, pull
from models.store import Details, ModelStore, StoredModel
from tests.models.tiny import CONTROL_TOKENS, LETTERS, TinyModel, write_tiny

DEFAULT = "smollm2-135m"
WRITERS_VERSION = 1  # raise it when the files come out otherwise
LARGE = TinyModel(
    layers=16,
    width=2048,
    heads=32,
    kv_heads=8,
    head_dim=64,
    feed_forward=8192,
    context_tokens=4096,
    vocabulary=128_256,
    rope_base=500_000.0,
)


@dataclass(frozen=True, kw_only=True)
class File:
    """One of the files: how large a model, and how its matrices are quantised."""

    size: str
    matrices: Type

    @property
    def label(self) -> str:
        """What its rows are called."""
        return f"{self.size} {self.matrices.name}"

    @property
    def is_large(self) -> bool:
        """Whether a step of it takes tens of milliseconds."""
        return self.size == "1B"


FILES = tuple(File(size=size, matrices=matrices) for size in ("135M", "1B") for matrices in (Type.Q4_1, Type.Q4_0))


class Shelf:
    """A store of the benchmark's own."""

    def __init__(self) -> None:
        self.folder = cache_directory(os.environ) / "bench"
        self.store = ModelStore(self.folder / "models")

    def model(self, file: File) -> StoredModel:
        """Return a model, made on the first call; a large one takes a minute and a gigabyte."""
        if file == FILES[0]:
            entry = Catalogue.load().find(DEFAULT)
            cache = cache_directory(os.environ)
            return asyncio.run(pull(entry, store=self.store, cache_dir=cache, progress=lambda _: None))
        name = f"{file.label.lower().replace(' ', '-')}.v{WRITERS_VERSION}"
        try:
            return self.store.find(name)
        except ModelNotFoundError:
            sys.stderr.write(f"writing the model {file.label} (once)\n")
        path = self.folder / f"{name}.writing"
        if file.is_large:
            write_large(path, file.matrices)
        else:
            requantise(self.gguf(self.model(FILES[0])), path, file.matrices)
        return self._install(name, path)

    def gguf(self, model: StoredModel) -> Path:
        """Return where its file lies."""
        return self.store.path(model.manifest.gguf)

    def _install(self, name: str, path: Path) -> StoredModel:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            blob = Blob(GGUF, sha256, path.stat().st_size)
            self.store.add(file, blob)
        path.unlink()
        details = Details(licence="unknown", description="for the benchmark", source="made here")
        return self.store.install(name, Manifest.of([blob]), details)


def requantise(source: Path, target: Path, matrices: Type) -> None:
    """Write a model anew with its Q4_1 matrices in another form, everything else as it is."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            writer.add_key_value(name, field.contents(), field.types[0], *field.types[1:][-1:])
    for tensor in reader.tensors:
        raw, kind = tensor.data, tensor.tensor_type
        if kind is Type.Q4_1:
            raw, kind = gguf.quants.quantize(gguf.quants.dequantize(raw, kind), matrices), matrices
        writer.add_tensor(tensor.name, raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_large(target: Path, matrices: Type) -> None:
    """Write the model of Llama 3.2 1B's dimensions, its embedding and head in Q8_0."""
    merges = list(islice(_merges(), LARGE.vocabulary - len(CONTROL_TOKENS) - len(LETTERS)))
    tokens = [*CONTROL_TOKENS, *LETTERS, *(merge.replace(" ", "") for merge in merges)]
    metadata = {
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] * len(CONTROL_TOKENS) + [1] * (len(tokens) - len(CONTROL_TOKENS)),
        "tokenizer.ggml.merges": merges,
    }
    write_tiny(target, replace(LARGE, matrices=matrices), metadata)


def _merges() -> Iterator[str]:
    """Build up words that begin with a space, letter by letter: every one of up to four letters, in order."""
    for letters in range(4):
        for word in product(ascii_lowercase, repeat=letters):
            for letter in ascii_lowercase:
                yield f"Ġ{''.join(word)} {letter}"

"""A tiny model with random weights in a store: real engine, real answers, no download, a second to convert."""

from pathlib import Path

from gguf import GGMLQuantizationType as Type

from models.fetch import pull
from models.store import ModelStore, StoredModel
from tests.models.files import file_entry
from tests.models.tiny import TOKENS, TinyModel, write_tiny

# Without a token that ends it, an answer goes on until max_tokens or the context's end.
ENDLESS = {"tokenizer.ggml.eos_token_id": None, "tokenizer.ggml.token_type": [1] * len(TOKENS)}
CONTEXT_TOKENS = 32_768


async def install_tiny(
    store: ModelStore, folder: Path, *, name: str = "tiny", seed: int = 1, endless: bool = True
) -> StoredModel:
    """Put a model into the store whose answers go on until they are cut, or may also end; `folder` is for its file."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  a test has nothing else to do meanwhile
    # In float32 several tokens computed at once come out as one by one, so that answers can be compared.
    model = TinyModel(seed=seed, context_tokens=CONTEXT_TOKENS, matrices=Type.F32, embedding=Type.F32)
    path = write_tiny(folder / f"{name}.gguf", model, ENDLESS if endless else None)
    return await pull(file_entry(name, path), store=store, cache_dir=folder, progress=lambda _: None)

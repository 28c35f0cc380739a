"""Cards lie beside the models of a store, and what cannot be read of them is never believed."""

import io
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from models.cards import Cards, Said, bare_card, card_of
from models.core.card import Card
from models.core.manifest import GGUF, Blob, Manifest
from models.core.release import Release
from models.errors import CorruptStoreError
from models.store import Details, ModelStore, StoredModel
from tests.models.core.test_release import OTHER_PUBLIC, PUBLIC, sign, verify
from tests.models.files import entry_for, file_entry, sha256_of
from tests.models.tiny import TinyModel, write_tiny

DETAILS = Details(licence="apache-2.0", description="a\ntest", source="file:/x")
CARD = Card(name="Cicero", licence="MIT", bad_at="Greek")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """An empty store."""
    return ModelStore(tmp_path / "models")


@pytest.fixture
def model(store: ModelStore) -> StoredModel:
    """A model in it."""
    return _install(store, "cicero", b"weights")


@pytest.fixture
def cards(store: ModelStore) -> Cards:
    """The store's cards."""
    return Cards(store, verify=verify)


def _install(store: ModelStore, name: str, data: bytes) -> StoredModel:
    blob = Blob(GGUF, sha256_of(data), len(data))
    store.add(io.BytesIO(data), blob)
    return store.install(name, Manifest.of([blob]), DETAILS)


def _release(model: StoredModel, card: Card = CARD) -> Release:
    trees = {blob.sha256: "c" * 64 for blob in model.manifest.blobs}
    return Release.make(model.manifest, trees, card, PUBLIC, sign=sign)


def test_a_model_without_a_card_has_what_the_store_knows(cards: Cards, model: StoredModel) -> None:
    """Stores of earlier versions have no cards."""
    expected = Card(name="cicero", licence="Apache-2.0", description="a test", source="file:/x")
    assert Said(expected) == cards.of(model)
    assert bare_card(model) == expected
    assert (cards.card(model.digest), cards.release(model.digest)) == (None, None)


def test_the_owners_card_stands_before_the_publishers(cards: Cards, model: StoredModel, store: ModelStore) -> None:
    """What is written is seen at once, by another object on the same directory too."""
    release = _release(model, Card(name="the publisher's"))
    assert cards.of(model).card == bare_card(model)
    cards.keep_release(release)
    assert cards.of(model) == Said(release.card, release)
    cards.keep(model.digest, CARD)
    for one in (cards, Cards(store, verify=verify)):
        assert one.of(model) == Said(CARD, release)
        assert (one.card(model.digest), one.release(model.digest)) == (CARD, release)


def test_what_is_read_is_kept_in_memory_within_bounds(
    cards: Cards, model: StoredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that has not changed is not read again."""
    cards.keep(model.digest, CARD)
    assert cards.of(model) is cards.of(model)
    monkeypatch.setattr("models.cards.MAX_READ", 1)
    for number in range(3):
        other = replace(model, manifest=Manifest.of([Blob(GGUF, f"{number}" * 64, 1)]))
        assert cards.of(other).card == bare_card(other)
        assert len(cards._read) == 1


@pytest.mark.parametrize("spoil", ["garbage", "symlink", "unsigned", "other model", "too long"])
def test_a_spoilt_file_is_left_out_and_logged(
    cards: Cards, model: StoredModel, store: ModelStore, caplog: pytest.LogCaptureFixture, spoil: str
) -> None:
    """It neither stops the node nor lets a model be passed on."""
    path = store.root / "releases" / f"{model.digest}.json"
    cards.keep_release(_release(model))
    match spoil:
        case "garbage":
            path.write_bytes(b"garbage")
        case "symlink":
            path.unlink()
            path.symlink_to("/nowhere")
        case "unsigned":
            path.write_bytes(path.read_bytes().replace(PUBLIC.hex().encode(), OTHER_PUBLIC.hex().encode()))
        case "other model":
            path.write_bytes(_release(_install(store, "other", b"other")).to_bytes())
        case "too long":
            path.write_bytes(b" " * 100_000)
    with caplog.at_level(logging.WARNING):
        assert cards.of(model) == Said(bare_card(model))
    assert "left out of what is known of cicero" in caplog.text
    with pytest.raises(CorruptStoreError):
        cards.release(model.digest)
    assert cards.refusal(model) is not None


def test_a_spoilt_card_is_left_out_and_logged(
    cards: Cards, model: StoredModel, store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The publisher's own stands then; the model is not passed on before the owner has looked."""
    cards.keep(model.digest, CARD)
    cards.keep_release(release := _release(model))
    (store.root / "cards" / f"{model.digest}.json").write_bytes(b"{}")
    assert cards.of(model) == Said(CARD, release)
    assert "left out of what is known of cicero" in caplog.text
    refusal = cards.refusal(model)
    assert refusal is not None
    assert "the card of model" in refusal.reason


def test_owner_and_publisher_must_both_allow_it(cards: Cards, model: StoredModel) -> None:
    """Each can refuse; the reason is that of whoever does."""
    secret, unknown = Card(name="n", licence="LicenseRef-proprietary"), Card(name="n")
    assert cards.refusal(model) is None
    cards.keep(model.digest, secret)
    refusal = cards.refusal(model)
    assert refusal is not None
    assert "forbids" in refusal.reason
    cards.keep(model.digest, CARD)
    assert cards.refusal(model) is None
    cards.keep_release(_release(model, unknown))
    refusal = cards.refusal(model)
    assert refusal is not None
    assert "nobody knows its licence" in refusal.reason
    cards.keep_release(_release(model))
    assert cards.refusal(model) is None


async def test_a_catalogue_model_gets_a_card(cards: Cards, store: ModelStore, tmp_path: Path) -> None:
    """From the catalogue first, then from the file; its own name is the last resort."""
    path = write_tiny(tmp_path / "t.gguf", TinyModel(), {"general.license": "mit", "general.description": "not taken"})
    entry = replace(file_entry("tiny", path), card=Card(name="unknown", bad_at="everything"))
    blob = Blob(GGUF, entry.sha256, entry.size_bytes)
    with path.open("rb") as file:
        store.add(file, blob)
    model = store.install("tiny", Manifest.of([blob]), DETAILS)
    await cards.describe(model, entry)
    card = cards.card(model.digest)
    assert card is not None
    assert (card.name, card.description, card.licence, card.bad_at) == ("tiny", "random", "CC0-1.0", "everything")
    assert (card.architecture, card.context_tokens, card.source) == ("llama", 128, f"file:{path}")
    cards.keep(model.digest, CARD)
    await cards.describe(model, entry)
    assert cards.card(model.digest) == CARD


async def test_a_file_that_cannot_be_read_has_a_card_all_the_same(
    cards: Cards, model: StoredModel, store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    """What the catalogue says of it; a spoilt card is replaced."""
    entry = entry_for("cicero", "https://models.example/cicero.gguf", b"weights")
    (store.root / "cards").mkdir()
    (store.root / "cards" / f"{model.digest}.json").write_bytes(b"garbage")
    await cards.describe(model, entry)
    assert cards.card(model.digest) == replace(card_of(entry), name="cicero")
    assert "a new card is made" in caplog.text
    assert "only what the catalogue says" in caplog.text

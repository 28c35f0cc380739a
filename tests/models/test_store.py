"""The store keeps whole models only, shares blobs, and forgets nothing that a name needs."""

import io
import json
from pathlib import Path

import pytest

from models.core.manifest import GGUF, Blob, Manifest
from models.errors import (
    AmbiguousModelError,
    ChecksumMismatchError,
    CorruptStoreError,
    InvalidRequestError,
    ModelNotFoundError,
    StoreWriteError,
)
from models.store import Details, ModelStore, StoredModel
from tests.models.files import sha256_of

DETAILS = Details(licence="Apache-2.0", description="a test", source="file:/x")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """An empty store."""
    return ModelStore(tmp_path / "models")


def _blob(store: ModelStore, data: bytes) -> Blob:
    blob = Blob(GGUF, sha256_of(data), len(data))
    store.add(io.BytesIO(data), blob)
    return blob


def _install(store: ModelStore, name: str, data: bytes, template: str | None = None) -> StoredModel:
    blobs = [_blob(store, data), *([store.add_text("template", template)] if template is not None else [])]
    return store.install(name, Manifest.of(blobs), DETAILS)


def _files(store: ModelStore) -> set[str]:
    return {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}


def test_an_installed_model_is_found_by_name_and_digest(store: ModelStore) -> None:
    """With everything that was said of it, also by another object on the same directory."""
    model = _install(store, "tiny", b"weights", "{{ messages }}")
    for key in ("tiny", model.digest, model.digest[:4]):
        assert ModelStore(store.root).find(key) == model
    assert (model.name, model.licence, model.description) == ("tiny", "Apache-2.0", "a test")
    assert model.size_bytes == len(b"weights") + len("{{ messages }}")
    assert store.models() == (model,)
    assert store.path(model.manifest.gguf).read_bytes() == b"weights"
    template = model.manifest.blob("template")
    assert template is not None
    assert store.read(template) == b"{{ messages }}"


def test_an_empty_store_is_no_error_and_makes_no_directory(store: ModelStore) -> None:
    """Looking writes nothing."""
    assert store.models() == ()
    for key in ("tiny", "", "ab", "../escape", "0" * 64):
        with pytest.raises(ModelNotFoundError):
            store.find(key)
    assert not store.root.exists()


def test_the_digest_depends_on_the_content_alone(store: ModelStore) -> None:
    """Two names for the same blobs are the same model, found without ambiguity."""
    first, second = _install(store, "one", b"weights"), _install(store, "two", b"weights")
    assert first.digest == second.digest
    assert store.find(first.digest[:8]).digest == first.digest
    assert len(store.models()) == 2


def test_a_beginning_that_fits_two_models_is_ambiguous(store: ModelStore) -> None:
    """The error names them."""
    by_beginning: dict[str, str] = {}
    for number in range(2000):
        data = str(number).encode()
        digest = Manifest.of([Blob(GGUF, sha256_of(data), len(data))]).digest
        if other := by_beginning.get(digest[:4]):
            _install(store, "a", other.encode())
            _install(store, "b", data)
            with pytest.raises(AmbiguousModelError, match="a, b"):
                store.find(digest[:4])
            return
        by_beginning[digest[:4]] = str(number)
    pytest.fail("no two digests begin alike")


def test_removing_deletes_what_no_other_name_needs(store: ModelStore) -> None:
    """A shared blob stays until its last name goes."""
    first = _install(store, "one", b"weights", "a")
    second = _install(store, "two", b"weights", "b")
    store.remove("one")
    assert store.models() == (second,)
    assert store.path(first.manifest.gguf).exists()
    assert len(_files(store)) == 4
    store.remove("two")
    assert _files(store) == set()
    with pytest.raises(ModelNotFoundError):
        store.remove("two")


def test_replacing_a_name_drops_the_old_content(store: ModelStore) -> None:
    """The name leads to the new model, the old blobs are gone."""
    _install(store, "tiny", b"old")
    model = _install(store, "tiny", b"new")
    assert store.find("tiny") == model
    assert len(_files(store)) == 3


def test_a_blob_on_its_way_is_no_garbage(store: ModelStore) -> None:
    """Removing another model in the meantime costs the pull nothing; after a restart it would."""
    _install(store, "other", b"other")
    blob = _blob(store, b"weights")
    store.remove("other")
    model = store.install("tiny", Manifest.of([blob]), DETAILS)
    assert store.find("tiny") == model
    _blob(store, b"never named")
    ModelStore(store.root).collect()
    assert len(_files(store)) == 3


def test_leftovers_of_a_power_cut_are_collected(store: ModelStore) -> None:
    """Half-written files of every kind go, whole models stay."""
    model = _install(store, "tiny", b"weights")
    whole = _files(store)
    for leftover in ("blobs/.sha256-0.arriving", "names/.x.tmp", "manifests/.y.tmp", "blobs/sha256-" + "0" * 64):
        (store.root / leftover).write_bytes(b"half")
    ModelStore(store.root).collect()
    assert _files(store) == whole
    assert store.find("tiny") == model


def test_a_missing_blob_cannot_be_named(store: ModelStore) -> None:
    """A name always leads to a whole model."""
    with pytest.raises(CorruptStoreError):
        store.install("tiny", Manifest.of([Blob(GGUF, "0" * 64, 1)]), DETAILS)
    assert store.models() == ()


@pytest.mark.parametrize("name", ["", "UPPER", "../up", "a/b", ".hidden", "x" * 65, "naïve", "a\n"])
def test_a_name_is_a_plain_word(store: ModelStore, name: str) -> None:
    """It becomes a file's name and a word in a command."""
    blob = _blob(store, b"weights")
    with pytest.raises(InvalidRequestError):
        store.install(name, Manifest.of([blob]), DETAILS)
    with pytest.raises(InvalidRequestError):
        store.remove(name)


def test_planted_links_are_refused(store: ModelStore, tmp_path: Path) -> None:
    """A blob, a manifest or a name that is a link is not read."""
    model = _install(store, "tiny", b"weights")
    elsewhere = tmp_path / "elsewhere"
    for path in (
        store.blob_path(model.manifest.gguf.sha256),
        store.root / "manifests" / f"{model.digest}.json",
        store.root / "names" / "tiny.json",
    ):
        path.rename(elsewhere)
        path.symlink_to(elsewhere)
        with pytest.raises(CorruptStoreError):
            store.path(store.find("tiny").manifest.gguf)
        path.unlink()
        path.hardlink_to(elsewhere)
        with pytest.raises(CorruptStoreError):
            store.path(store.find("tiny").manifest.gguf)
        path.unlink()
        elsewhere.rename(path)
    assert store.find("tiny") == model


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"[" * 60_000,
        b"x" * 70_000,
        json.dumps({"digest": "../../etc/passwd", "licence": "", "description": "", "source": ""}).encode(),
    ],
)
def test_a_spoilt_name_hides_no_other_model_and_loses_no_blob(
    store: ModelStore, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out and logged; nothing is collected until it is removed."""
    model = _install(store, "good", b"weights")
    spoilt = _install(store, "spoilt", b"other weights")
    (store.root / "names" / "spoilt.json").write_bytes(content)
    assert store.models() == (model,)
    assert "spoilt.json" in caplog.text
    with pytest.raises(CorruptStoreError):
        store.find("spoilt")
    store.collect()
    assert store.path(spoilt.manifest.gguf).exists()
    store.remove("spoilt")
    assert not store.blob_path(spoilt.manifest.gguf.sha256).exists()


def test_changed_content_is_noticed(store: ModelStore) -> None:
    """Of manifests and templates at every reading, of weights by their size."""
    model = _install(store, "tiny", b"weights", "template")
    template = model.manifest.blob("template")
    assert template is not None
    store.blob_path(template.sha256).write_bytes(b"TEMPLATE")
    with pytest.raises(CorruptStoreError, match="changed"):
        store.read(template)
    manifest = store.root / "manifests" / f"{model.digest}.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(CorruptStoreError, match="changed"):
        store.find("tiny")


def test_a_store_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    """The error names the place."""
    (tmp_path / "file").write_bytes(b"no directory")
    store = ModelStore(tmp_path / "file")
    with pytest.raises(StoreWriteError, match="file"):
        _blob(store, b"weights")
    with pytest.raises(CorruptStoreError):
        store.models()
    assert (tmp_path / "file").read_bytes() == b"no directory"


def test_spoilt_bytes_are_not_added(store: ModelStore) -> None:
    """And the blob can be added later."""
    blob = Blob(GGUF, sha256_of(b"weights"), 7)
    with pytest.raises(ChecksumMismatchError):
        store.add(io.BytesIO(b"WEIGHTS"), blob)
    assert _files(store) == set()
    store.add(io.BytesIO(b"weights"), blob)
    store.add(io.BytesIO(b"never read: it is there"), blob)
    assert store.read(blob) == b"weights"


def test_a_file_is_moved_in_if_it_is_the_blob(store: ModelStore, tmp_path: Path) -> None:
    """Without a copy; what was found to be another, another size or a link stays where it is."""
    file, data = tmp_path / "arrived", b"weights"
    blob = Blob(GGUF, sha256_of(data), len(data))
    for wrong, error in [(b"weightS", ChecksumMismatchError), (b"weights!", CorruptStoreError)]:
        file.write_bytes(wrong)
        with pytest.raises(error):
            store.take(file, blob, sha256=sha256_of(wrong))
        assert file.read_bytes() == wrong
    file.write_bytes(data)
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(CorruptStoreError):
        store.take(tmp_path / "link", blob, sha256=blob.sha256)
    inode = file.stat().st_ino
    store.take(file, blob, sha256=blob.sha256)
    assert (store.path(blob).stat().st_ino, file.exists()) == (inode, False)
    store.collect()
    assert store.install("tiny", Manifest.of([blob]), DETAILS).size_bytes == len(data)


def test_what_is_expected_is_no_garbage_until_it_is_abandoned(store: ModelStore) -> None:
    """Nor are the trees beside the blobs."""
    blob = Blob(GGUF, sha256_of(b"weights"), 7)
    store.expect([blob])
    for path in (store.blob_path(blob.sha256), store.tree_path(blob.sha256), store.tree_path("0" * 64)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")
    store.collect()
    assert _files(store) == {f"blobs/sha256-{blob.sha256}", f"trees/sha256-{blob.sha256}"}
    store.abandon([blob])
    assert _files(store) == set()

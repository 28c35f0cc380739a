"""A model goes into one file and comes out of it; nothing else that is in a file gets into the store."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.bundle import BundleReader, bundle_of, bundle_pieces
from models.core.bundle import CARD, END, header
from models.core.manifest import GGUF, Blob, Manifest
from models.errors import (
    CorruptStoreError,
    DamagedModelError,
    InvalidBundleError,
    InvalidRequestError,
    NameTakenError,
    NotEnoughSpaceError,
    StoreWriteError,
)
from models.files import CHUNK_BYTES
from models.store import Details, ModelStore, StoredModel
from tests.models.files import sha256_of

DETAILS = Details(licence="Apache-2.0", description="a test", source="file:/x")
DOCUMENTS = {"card.json": b'{"card": 1}'}
PUBLISHED = {"card.json": b'{"card": 2}', "release.json": b'{"release": 1}'}
WEIGHTS = bytes(range(256)) * 5000  # more than a chunk, no whole number of blocks
TEMPLATE = "{{ messages }}"


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """A store with one model that has everything."""
    return stocked(tmp_path / "from")


def stocked(root: Path) -> ModelStore:
    """Make a store with one model that has everything."""
    store = ModelStore(root)
    model = _install(store, "tiny", WEIGHTS, TEMPLATE)
    store.keep_documents(model.digest, DOCUMENTS)
    return store


@pytest.fixture
def other(tmp_path: Path) -> ModelStore:
    """The store that a bundle is carried to."""
    return ModelStore(tmp_path / "to")


def _install(store: ModelStore, name: str, data: bytes, template: str | None = None) -> StoredModel:
    blob = Blob(GGUF, sha256_of(data), len(data))
    store.add(io.BytesIO(data), blob)
    blobs = [blob, *([store.add_text("template", template)] if template is not None else [])]
    return store.install(name, Manifest.of(blobs), DETAILS)


def _exported(store: ModelStore, name: str = "tiny") -> bytes:
    model = store.find(name)
    documents = store.documents(model.digest)
    bundle = bundle_of(model, documents)
    pieces = list(bundle_pieces(bundle, store, documents))
    assert max(map(len, pieces)) <= CHUNK_BYTES + 512
    assert sum(map(len, pieces)) == bundle.size_bytes
    return b"".join(pieces)


def _imported(data: bytes, store: ModelStore, *, name: str = "") -> StoredModel:
    return BundleReader(io.BytesIO(data), len(data)).install(store, name=name)


def _files(store: ModelStore) -> dict[str, bytes]:
    paths = [path for path in store.root.rglob("*") if path.is_file()]
    return {str(path.relative_to(store.root)): path.read_bytes() for path in paths}


def test_a_bundle_carries_a_model_whole(store: ModelStore, other: ModelStore) -> None:
    """Also its documents and what is said of it: afterwards the two stores are the same, file by file."""
    assert _imported(_exported(store), other) == store.find("tiny")
    assert _files(other) == _files(store)
    assert other.documents(other.find("tiny").digest) == DOCUMENTS


def test_a_bundle_depends_on_the_model_alone(store: ModelStore, other: ModelStore) -> None:
    """Written twice, or after it was carried, it is the same, byte by byte."""
    data = _exported(store)
    _imported(data, other)
    assert _exported(store) == _exported(other) == data


def test_any_tar_program_reads_it(store: ModelStore) -> None:
    """Plain files, in their order."""
    with tarfile.open(fileobj=io.BytesIO(_exported(store)), mode="r:") as archive:
        names = archive.getnames()
        weights = archive.extractfile(f"blobs/sha256-{sha256_of(WEIGHTS)}")
        assert weights is not None
        assert weights.read() == WEIGHTS
    assert names[:2] == ["hearthmesh-bundle.json", "card.json"]
    assert len(names) == 4


def test_it_may_be_called_otherwise(store: ModelStore, other: ModelStore) -> None:
    """By a name that a model may have; a name that is another model's is refused before anything is written."""
    data = _exported(store)
    assert _imported(data, other, name="mine").name == "mine"
    assert _imported(data, other, name="mine").name == "mine"  # the same again is no other
    _install(other, "tiny", b"others")
    before = _files(other)
    with pytest.raises(NameTakenError, match="tiny is another model here"):
        _imported(data, other)
    with pytest.raises(InvalidRequestError):
        _imported(data, other, name="../up")
    assert _files(other) == before


def test_what_is_here_is_not_written_again(store: ModelStore, other: ModelStore) -> None:
    """But compared: a bundle that has been altered says so all the same."""
    data = _exported(store)
    _imported(data, other)
    path = other.blob_path(sha256_of(WEIGHTS))
    written = path.stat().st_mtime_ns
    _imported(data, other, name="again")
    assert path.stat().st_mtime_ns == written
    with pytest.raises(InvalidBundleError, match="altered"):
        _imported(data.replace(WEIGHTS, WEIGHTS[:-1] + b"?"), other, name="third")
    assert [model.name for model in other.models()] == ["again", "tiny"]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_cut_bundle_leaves_nothing(store: ModelStore, tmp_path: Path, part: float) -> None:
    """Wherever it ends, and whether its length is known or not."""
    data = _exported(store)
    cut = data[: int(part * len(data))]
    other = ModelStore(tmp_path / "cut")
    with pytest.raises(InvalidBundleError, match=r"cut|ends|should have|no bundle"):
        BundleReader(io.BytesIO(cut), len(cut)).install(other)
    with pytest.raises(InvalidBundleError, match=r"cut|ends|no bundle"):
        BundleReader(io.BytesIO(cut)).install(other)
    assert _files(other) == {}


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_leaves_nothing(store: ModelStore, tmp_path: Path, part: float, bit: int) -> None:
    """There is no byte in a bundle that is not looked at."""
    data = bytearray(_exported(store))
    data[int(part * len(data))] ^= 1 << bit
    other = ModelStore(tmp_path / "flipped")
    with pytest.raises(InvalidBundleError):
        _imported(bytes(data), other)
    assert _files(other) == {}


@pytest.mark.parametrize("position", [0, 600, 1100, 2200, 3300, 4000])
def test_small_members_are_looked_at_too(store: ModelStore, other: ModelStore, position: int) -> None:
    """Head, documents, and the zeros between."""
    data = bytearray(_exported(store))
    data[position] ^= 1
    with pytest.raises(InvalidBundleError):
        _imported(bytes(data), other)
    assert _files(other) == {}


def _with_second_name(data: bytes) -> bytes:
    return data.removesuffix(END) + header("extra", 1) + b"x".ljust(512, b"\0") + END


def _with_link(data: bytes) -> bytes:
    info = tarfile.TarInfo(f"blobs/sha256-{sha256_of(WEIGHTS)}")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return data.replace(header(info.name, len(WEIGHTS)), info.tobuf(tarfile.USTAR_FORMAT))


@pytest.mark.parametrize(
    "change",
    [
        _with_second_name,
        _with_link,
        lambda data: data + bytes(512),
        lambda data: data + data,
        lambda data: data.replace(b"blobs/sha256-", b"../../sha256-"),
    ],
)
def test_what_is_no_bundle_leaves_nothing(
    store: ModelStore, other: ModelStore, change: Callable[[bytes], bytes]
) -> None:
    """Members that follow, links, paths that lead elsewhere, also of a length nobody told."""
    data = change(_exported(store))
    with pytest.raises(InvalidBundleError):
        BundleReader(io.BytesIO(data)).install(other)
    assert _files(other) == {}


def test_a_bomb_costs_nothing(other: ModelStore) -> None:
    """A head that promises more than the disk has is refused before a byte of it is asked for."""
    manifest = Manifest.of([Blob(GGUF, "0" * 64, 2**42)])
    model = StoredModel(name="bomb", manifest=manifest, details=DETAILS)
    bundle = bundle_of(model, {})
    head = bundle.to_bytes()
    data = header("hearthmesh-bundle.json", len(head)) + head + bytes(-len(head) % 512)
    with pytest.raises(NotEnoughSpaceError):
        BundleReader(io.BytesIO(data), bundle.size_bytes).install(other)
    assert _files(other) == {}


def test_a_source_may_give_little_at_a_time(store: ModelStore, other: ModelStore) -> None:
    """As a socket does; how far it is, is told."""
    data, told = _exported(store), [0]

    class Drip:
        def __init__(self) -> None:
            self._left = io.BytesIO(data)

        def read(self, size: int, /) -> bytes:
            return self._left.read(min(size, 9999))

    assert BundleReader(Drip()).install(other, done=told.append) == store.find("tiny")
    assert told == sorted(told)
    assert told[-1] == len(data)


def test_a_damaged_model_makes_no_bundle(store: ModelStore) -> None:
    """What has been given away by then lacks its end; what is not there at all is said at once."""
    model = store.find("tiny")
    path = store.blob_path(sha256_of(WEIGHTS))
    path.write_bytes(WEIGHTS[:-1] + b"?")
    bundle, given = bundle_of(model, {}), 0
    pieces = bundle_pieces(bundle, store, {})

    def give() -> None:
        nonlocal given
        for piece in pieces:
            given += len(piece)

    with pytest.raises(DamagedModelError, match="has changed on the disk"):
        give()
    assert given < bundle.size_bytes - len(WEIGHTS) % CHUNK_BYTES
    path.unlink()
    with pytest.raises(CorruptStoreError):
        list(bundle_pieces(bundle, store, {}))


def test_a_document_that_is_too_large_is_not_carried(store: ModelStore) -> None:
    """The error names it."""
    model = store.find("tiny")
    (store.root / "cards" / f"{model.digest}.json").write_bytes(b"x" * 100_000)
    with pytest.raises(InvalidBundleError, match=r"card\.json"):
        bundle_of(model, store.documents(model.digest))


def test_documents_go_with_their_model(store: ModelStore) -> None:
    """And stay as they are when they come again."""
    digest = store.find("tiny").digest
    store.keep_documents(digest, {"card.json": b"another"})
    assert store.documents(digest) == DOCUMENTS
    store.remove("tiny")
    assert _files(store) == {}


def test_the_card_of_another_owner_does_not_come_with_what_was_published(store: ModelStore, other: ModelStore) -> None:
    """The publisher's comes, in the release; the other would count as the importing owner's own."""
    model = _install(store, "published", b"other weights")
    store.keep_documents(model.digest, PUBLISHED)
    _imported(_exported(store, "published"), other)
    assert other.documents(model.digest) == {"release.json": PUBLISHED["release.json"]}


def test_a_document_that_cannot_be_kept_leaves_no_model(store: ModelStore, other: ModelStore) -> None:
    """What a model is published with is as much a part of it as its blobs."""
    model = _install(store, "tiny", b"weights")
    store.keep_documents(model.digest, {CARD: b"{}"})
    data = _exported(store)
    other.root.mkdir(parents=True, exist_ok=True)
    (other.root / "cards").write_bytes(b"no directory")
    with pytest.raises(StoreWriteError):
        _imported(data, other)
    assert other.models() == ()


def test_an_empty_template_is_carried_too(tmp_path: Path, other: ModelStore) -> None:
    """A member of no bytes."""
    store = ModelStore(tmp_path / "empty")
    _install(store, "tiny", b"weights", "")
    data = _exported(store)
    assert _imported(data, other) == store.find("tiny")
    assert _imported(data, other, name="again").name == "again"


FULL = """
import io
import os
import sys
from pathlib import Path
from models.bundle import BundleReader
from models.errors import DiskFullError, StoreWriteError
from models.store import ModelStore
from tests.models.test_bundle import DOCUMENTS, WEIGHTS, _exported, _files, _imported, stocked

disk = Path("/mnt")
data = _exported(stocked(Path(sys.argv[1])))
other = ModelStore(disk / "to")
before = _files(other)
refused = 0
for left in (*range(0, 24), *range(24, 400, 25)):  # pages of 4 KiB that are free
    filler = (disk / "filler").open("wb", buffering=0)

    def fill(_read):  # somebody else takes the room that was there when it was looked at
        status = os.statvfs(disk)
        if (disk / "filler").stat().st_size == 0:
            os.posix_fallocate(filler.fileno(), 0, max(1, status.f_bavail - left) * status.f_frsize)

    try:
        print(BundleReader(io.BytesIO(data), len(data)).install(other, done=fill).name, left)
        break
    except (DiskFullError, StoreWriteError) as error:
        refused += 1
        assert other.models() == (), left
        assert error.hint
    finally:
        filler.close()
        (disk / "filler").unlink()
    assert _files(other) == before, left
assert refused > 10
assert _imported(data, other).name == "tiny"
"""


@pytest.mark.lab
@pytest.mark.program("unshare")
def test_a_disk_that_fills_up_at_any_moment_keeps_nothing_of_a_bundle(tmp_path: Path) -> None:
    """However much was still free: it is said, the store is as it was, and with room the same bundle is taken."""
    script = tmp_path / "full.py"
    script.write_text(FULL)
    mount = f'mount -t tmpfs -o size=24m none /mnt && exec "{sys.executable}" "{script}" "{tmp_path}"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount], check=False, env=dict(os.environ), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["tiny"]), done.stderr

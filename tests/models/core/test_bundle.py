"""A bundle is what the writer writes, to the bit; everything else is no case to think of."""

import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest

from models.core.bundle import (
    BLOCK_BYTES,
    DOCUMENTS,
    END,
    HEAD,
    MAX_DOCUMENT_BYTES,
    MAX_HEAD_BYTES,
    MAX_TEXT_CHARACTERS,
    Bundle,
    Member,
    documents_of,
    head_size,
    header,
    padding,
    require_header,
    require_zeros,
)
from models.core.manifest import GGUF, TEMPLATE, Blob, Manifest
from models.errors import InvalidBundleError
from tests.models.files import sha256_of

WEIGHTS = Blob(GGUF, sha256_of(b"weights"), 7)
MANIFEST = Manifest.of([WEIGHTS, Blob(TEMPLATE, sha256_of(b"template"), 8)])
BUNDLE = Bundle(
    name="tiny",
    manifest=MANIFEST,
    licence="Apache-2.0",
    description="größer",
    source="file:/x",
    documents=documents_of({"release.json": b"{}", "card.json": b"{ }"}),
)


def test_a_head_is_read_as_it_was_written() -> None:
    """Canonical and with its own checksum; the layout follows from it."""
    assert Bundle.parse(BUNDLE.to_bytes()) == BUNDLE
    assert [one.name for one in BUNDLE.documents] == list(DOCUMENTS)
    assert {one.sha256 for one in BUNDLE.blobs} == {blob.sha256 for blob in MANIFEST.blobs}
    head = len(BUNDLE.to_bytes())
    assert BUNDLE.size_bytes == 512 + head + padding(head) + 4 * 1024 + 1024


def test_a_file_of_two_roles_is_carried_once() -> None:
    """And one name never stands for two sizes."""
    twice = Manifest.of([WEIGHTS, replace(WEIGHTS, role=TEMPLATE)])
    assert len(replace(BUNDLE, manifest=twice).blobs) == 1
    with pytest.raises(InvalidBundleError, match="two sizes"):
        replace(BUNDLE, manifest=Manifest.of([WEIGHTS, Blob(TEMPLATE, WEIGHTS.sha256, 8)]))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../up"},
        {"name": ""},
        {"licence": "x" * (MAX_TEXT_CHARACTERS + 1)},
        {"description": "half of a pair: \ud800"},
        {"documents": (Member("card.json", "0" * 64, 0),)},
        {"documents": (Member("card.json", "0" * 64, MAX_DOCUMENT_BYTES + 1),)},
        {"documents": (Member("card.json", "0", 1),)},
        {"documents": (Member("../card.json", "0" * 64, 1),)},
        {"documents": (Member("card.json", "0" * 64, 1),) * 2},
        {"documents": (Member("release.json", "0" * 64, 1), Member("card.json", "0" * 64, 1))},
    ],
)
def test_what_no_bundle_says(change: dict[str, Any]) -> None:
    """Names, texts and documents have their bounds."""
    with pytest.raises(InvalidBundleError):
        replace(BUNDLE, **change)


def _changed(**fields: object) -> bytes:
    return json.dumps(json.loads(BUNDLE.to_bytes()) | fields, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JSON"),
        (b"[" * 20_000, "no JSON"),
        (b"[]", "lacks something"),
        (b"{}", "lacks something"),
        (_changed(name=7), "lacks something"),
        (_changed(format="hearthmesh-bundle/2\x1b[2J"), "of the format 'hearthmesh-bundle/2"),
        (_changed(licence="MIT"), "altered"),
        (_changed(more=1), "altered"),
        (BUNDLE.to_bytes() + b" ", "altered"),
        (_changed(manifest={}), "manifest"),
        (_changed(manifest={"format": "hearthmesh-model/1", "blobs": [1]}), "manifest"),
        (_changed(documents=[7]), "document"),
        (_changed(documents=[{"name": "card.json", "sha256": "0" * 64, "size": True}]), "document"),
    ],
)
def test_a_head_that_is_none(data: bytes, said: str) -> None:
    """Each says why, in words that steer no terminal."""
    with pytest.raises(InvalidBundleError, match=said) as raised:
        Bundle.parse(data)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("position", range(0, len(BUNDLE.to_bytes()), 7))
def test_a_bit_that_flips_in_the_head_is_noticed(position: int) -> None:
    """Whichever it is."""
    data = bytearray(BUNDLE.to_bytes())
    data[position] ^= 1
    with pytest.raises(InvalidBundleError):
        Bundle.parse(bytes(data))


@pytest.mark.parametrize("size", [0, 1, 512, 8**11 - 1, 8**11, 2**43])
def test_headers_are_those_of_a_tar(size: int) -> None:
    """Of no time and nobody, for any tar program to read; beyond 8 GiB too."""
    info = tarfile.TarInfo.frombuf(header("blobs/sha256-x", size), "ascii", "strict")
    assert (info.name, info.size, info.type, info.mode) == ("blobs/sha256-x", size, tarfile.REGTYPE, 0o644)
    assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")
    require_header(header("blobs/sha256-x", size), "blobs/sha256-x", size)
    assert (size + padding(size)) % BLOCK_BYTES == 0


def test_the_head_comes_first() -> None:
    """Its size is bounded before any of it is read."""
    assert head_size(header(HEAD, 100)) == 100
    for size in (0, MAX_HEAD_BYTES + 1, 2**60):
        with pytest.raises(InvalidBundleError, match="the bundle's head has"):
            head_size(header(HEAD, size))
    with pytest.raises(InvalidBundleError, match="begins with 'etc/passwd'"):
        head_size(header("etc/passwd", 100))
    for block in (b"", bytes(512), b"GGUF" * 128, b"x" * 100):
        with pytest.raises(InvalidBundleError, match="no bundle"):
            head_size(block)


def _header_of(change: Callable[[tarfile.TarInfo], None], form: Literal[0, 1, 2] = tarfile.USTAR_FORMAT) -> bytes:
    info = tarfile.TarInfo("card.json")
    info.size, info.mode = 7, 0o644
    change(info)
    return info.tobuf(form)


def _set(**fields: object) -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        for name, value in fields.items():
            setattr(info, name, value)

    return change


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (_header_of(_set(type=tarfile.SYMTYPE, linkname="/etc/passwd")), "a symbolic link"),
        (_header_of(_set(type=tarfile.LNKTYPE, linkname="/etc/passwd")), "a hard link"),
        (_header_of(_set(type=tarfile.CHRTYPE)), "a device"),
        (_header_of(_set(type=tarfile.BLKTYPE)), "a device"),
        (_header_of(_set(type=tarfile.FIFOTYPE)), "a pipe"),
        (_header_of(_set(type=tarfile.DIRTYPE)), "a directory"),
        (_header_of(_set(type=tarfile.GNUTYPE_SPARSE)), "a sparse file"),
        (_header_of(_set(name="é" * 80), tarfile.PAX_FORMAT)[:512], "an extended header"),
        (_header_of(_set(name="x" * 200), tarfile.GNU_FORMAT)[:512], "an extended header"),
        (_header_of(_set(name="/card.json")), "'/card.json' of 7 bytes"),
        (_header_of(_set(name="../card.json")), "'../card.json' of 7 bytes"),
        (_header_of(_set(name="card\x1b.json")), "'card?.json' of 7 bytes"),
        (_header_of(_set(size=8)), "'card.json' of 8 bytes"),
        (_header_of(_set(mode=0o755)), "not as a bundle's writer writes it"),
        (_header_of(_set(mtime=1)), "not as a bundle's writer writes it"),
        (_header_of(_set(uname="root")), "not as a bundle's writer writes it"),
        (_header_of(_set(type=tarfile.AREGTYPE)), "not as a bundle's writer writes it"),
        (_header_of(_set(type=tarfile.CONTTYPE)), "not as a bundle's writer writes it"),
        (bytes(512), "there is no header where card.json belongs"),
        (b"\xff" * 512, "there is no header where card.json belongs"),
    ],
)
def test_any_other_header_is_refused(block: bytes, said: str) -> None:
    """And it is said what was there."""
    require_header(_header_of(_set()), "card.json", 7)
    with pytest.raises(InvalidBundleError, match=said.replace("?", r"\?")):
        require_header(block, "card.json", 7)


def test_between_members_there_is_nothing() -> None:
    """Zeros, and zeros only."""
    require_zeros(END)
    require_zeros(b"")
    with pytest.raises(InvalidBundleError, match="something"):
        require_zeros(b"\0\0\1")


def test_documents_are_described_in_their_order() -> None:
    """Others are none of a bundle's."""
    assert documents_of({}) == ()
    found = documents_of({"release.json": b"r", "notes.txt": b"n", "card.json": b"c"})
    assert [(one.name, one.size) for one in found] == [("card.json", 1), ("release.json", 1)]
    assert found[0].sha256 == sha256_of(b"c")

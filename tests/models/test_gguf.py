"""A GGUF file is parsed exactly or refused; whatever its bytes say, nothing but a ModelsError comes out."""

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from hypothesis import given, settings
from hypothesis import strategies as st

from models.architecture import DecoderConfig
from models.core.block_formats import TensorType
from models.errors import CorruptModelError, ModelsError, UnsupportedModelError
from models.gguf import GgufFile
from models.tokenizer import Tokenizer
from tests.models.memory import peak_growth_bytes
from tests.models.tiny import TOKENS, TinyModel, write_tiny

KEY, STRING, UINT32, ARRAY = b"\x03\0\0\0\0\0\0\0abc", 8, 4, 9


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write one small model for the tests of this module."""
    model = TinyModel(layers=1, types={"attn_q.weight": Type.Q4_0, "attn_k.weight": Type.F16})
    return write_tiny(tmp_path_factory.mktemp("gguf") / "tiny.gguf", model)


def test_metadata_and_tensors_are_what_ggml_reads(tiny: Path) -> None:
    """Keys, values, shapes, types and bytes agree with ggml's own reader."""
    reader = gguf.GGUFReader(tiny)
    with GgufFile.open(tiny) as file:
        for key, field in reader.fields.items():
            if not key.startswith("GGUF."):
                value = file.metadata[key]
                assert field.contents() == (list(value) if isinstance(value, (tuple, np.ndarray)) else value)
        assert [tensor.name for tensor in reader.tensors] == list(file.tensors)
        for tensor in reader.tensors:
            info = file.tensors[tensor.name]
            assert tensor.shape.tolist() == list(info.shape)
            assert tensor.tensor_type.name == info.type.name
            assert tensor.data.tobytes() == file.data(tensor.name).tobytes()
        assert file.metadata["tokenizer.ggml.tokens"] == TOKENS


def test_an_array_outlives_the_closed_file(tiny: Path) -> None:
    """Closing while a tensor's bytes are still held neither fails nor pulls them away."""
    with GgufFile.open(tiny) as file:
        rows = file.data("output_norm.weight")
    assert rows.shape == (1, 256)
    assert np.isfinite(rows.view("<f4")).all()


def _header(*, tensors: int = 0, keys: int = 0, magic: bytes = b"GGUF", version: int = 3) -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, keys)


def _tensor(*shape: int, name: bytes = b"t", kind: int = 0, offset: int = 0) -> bytes:
    dimensions = struct.pack(f"<{len(shape)}Q", *shape)
    return (
        struct.pack("<Q", len(name))
        + name
        + struct.pack("<I", len(shape))
        + dimensions
        + struct.pack("<IQ", kind, offset)
    )


HOSTILE: dict[str, tuple[bytes, type[ModelsError], str]] = {
    "empty": (b"", CorruptModelError, "too short"),
    "three bytes": (b"GGU", CorruptModelError, "too short"),
    "another format": (b"PK\x03\x04" + bytes(60), CorruptModelError, "not a GGUF file"),
    "only the magic": (b"GGUF", CorruptModelError, "ends in its header"),
    "version 1": (_header(version=1), UnsupportedModelError, "version 1"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), UnsupportedModelError, "big-endian"),
    "2^63 keys": (_header(keys=2**63), CorruptModelError, "metadata keys"),
    "2^63 tensors": (_header(tensors=2**63), CorruptModelError, "tensors"),
    "more keys than bytes": (_header(keys=4000), CorruptModelError, "ends in its header"),
    "a string of 2^63 bytes": (
        _header(keys=1) + KEY + struct.pack("<IQ", STRING, 2**63),
        CorruptModelError,
        "a string of",
    ),
    "a string past the end": (_header(keys=1) + KEY + struct.pack("<IQ", STRING, 99), CorruptModelError, "99 bytes"),
    "a key that is not UTF-8": (_header(keys=1) + b"\x01" + bytes(7) + b"\xff", CorruptModelError, "UTF-8"),
    "a value of type 77": (_header(keys=1) + KEY + struct.pack("<I", 77), CorruptModelError, "value type 77"),
    "2^61 numbers": (
        _header(keys=1) + KEY + struct.pack("<IIQ", ARRAY, UINT32, 2**61),
        CorruptModelError,
        "ends in its header",
    ),
    "2^61 strings": (
        _header(keys=1) + KEY + struct.pack("<IIQ", ARRAY, STRING, 2**61),
        CorruptModelError,
        "an array of",
    ),
    "strings past the end": (
        _header(keys=1) + KEY + struct.pack("<IIQ", ARRAY, STRING, 2) + struct.pack("<QQ", 0, 9),
        CorruptModelError,
        "a string of 9",
    ),
    "half a length": (
        _header(keys=1) + KEY + struct.pack("<IIQQI", ARRAY, STRING, 1, 2, 0)[:-8],
        CorruptModelError,
        "an array of 1 strings",
    ),
    "strings that are not UTF-8": (
        _header(keys=1) + KEY + struct.pack("<IIQQ", ARRAY, STRING, 1, 1) + b"\xc3",
        CorruptModelError,
        "UTF-8",
    ),
    "arrays in arrays": (
        _header(keys=1) + KEY + struct.pack("<IIQ", ARRAY, ARRAY, 1) + bytes(64),
        CorruptModelError,
        "array of value type 9",
    ),
    "a key twice": (
        _header(keys=2) + 2 * (KEY + struct.pack("<II", UINT32, 1)),
        CorruptModelError,
        "occurs twice",
    ),
    "alignment 3": (
        _header(keys=1) + b"\x11" + bytes(7) + b"general.alignment" + struct.pack("<II", UINT32, 3),
        CorruptModelError,
        "aligned to 3",
    ),
    "no dimensions": (_header(tensors=1) + _tensor() + bytes(64), CorruptModelError, "0 dimensions"),
    "2^31 dimensions": (
        _header(tensors=1) + b"\x01" + bytes(7) + b"t" + struct.pack("<I", 2**31),
        CorruptModelError,
        "dimensions",
    ),
    "dimensions that overflow 64 bits": (
        _header(tensors=1) + _tensor(2**32, 2**32, 2**32) + bytes(64),
        CorruptModelError,
        "does not fit the file",
    ),
    "a zero dimension": (_header(tensors=1) + _tensor(32, 0) + bytes(64), CorruptModelError, "shape (32, 0)"),
    "a row that is no whole block": (
        _header(tensors=1) + _tensor(33, kind=2) + bytes(64),
        CorruptModelError,
        "shape (33,)",
    ),
    "a tensor past the end": (_header(tensors=1) + _tensor(1024) + bytes(64), CorruptModelError, "does not fit"),
    "an offset past the end": (
        _header(tensors=1) + _tensor(8, offset=2**63) + bytes(64),
        CorruptModelError,
        "does not fit",
    ),
    "an offset out of line": (
        _header(tensors=1) + _tensor(1, offset=4) + bytes(256),
        CorruptModelError,
        "does not fit",
    ),
    "a tensor twice": (_header(tensors=2) + 2 * _tensor(8) + bytes(256), CorruptModelError, "occurs twice"),
    "tensors that overlap": (
        _header(tensors=2) + _tensor(16) + _tensor(8, name=b"u", offset=32) + bytes(256),
        CorruptModelError,
        "overlaps",
    ),
    "an unknown type": (_header(tensors=1) + _tensor(32, kind=99) + bytes(64), CorruptModelError, "unknown type 99"),
    "a name of 300 bytes": (
        _header(tensors=1) + _tensor(8, name=b"n" * 300) + bytes(64),
        CorruptModelError,
        "300 bytes",
    ),
    "IQ2_XS": (
        _header(tensors=1) + _tensor(256, kind=17) + bytes(256),
        UnsupportedModelError,
        "quantised as IQ2_XS; supported: F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_sound_is_refused_by_name(name: str, tmp_path: Path) -> None:
    """Each lie of a header has its own message."""
    content, error, named = HOSTILE[name]
    path = tmp_path / "hostile.gguf"
    path.write_bytes(content)
    with pytest.raises(error) as caught:
        GgufFile.open(path)
    assert named in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """No OSError comes out of opening."""
    with pytest.raises(CorruptModelError, match=r"absent\.gguf cannot be read"):
        GgufFile.open(tmp_path / "absent.gguf")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """What is no file is told like a file that cannot be read."""
    with pytest.raises(CorruptModelError, match="cannot be read"):
        GgufFile.open(tmp_path)


def test_no_cut_is_taken_for_a_whole_file(tiny: Path, tmp_path: Path) -> None:
    """A file cut anywhere, from its header to its last tensor, is corrupt."""
    content = tiny.read_bytes()
    path = tmp_path / "cut.gguf"
    # Padding after the last tensor belongs to no tensor: a cut inside it loses nothing.
    for size in range(0, len(content) - 64, 997):
        path.write_bytes(content[:size])
        with pytest.raises(CorruptModelError):
            GgufFile.open(path)


MUTATIONS = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=8)


@settings(max_examples=300, deadline=None)
@given(mutations=MUTATIONS, cut=st.none() | st.integers(0, 2**20))
def test_mutated_files_raise_nothing_else(
    mutations: list[tuple[int, int]], cut: int | None, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Parsed as metadata, as an architecture and as a tokenizer, any bytes give a value or a ModelsError."""
    content = bytearray(tiny.read_bytes())
    header = 12_000  # where lengths, counts and names lie
    for position, byte in mutations:
        content[position % header] = byte
    path = tmp_path_factory.getbasetemp() / "mutated.gguf"
    path.write_bytes(content[: None if cut is None else cut % len(content)])
    try:
        with GgufFile.open(path) as file:
            _use(file)
    except ModelsError as error:
        assert str(error)  # noqa: PT017  the point is that nothing else is raised


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=400))
def test_random_headers_raise_nothing_else(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Bytes after a right magic and version, whatever they are."""
    path = tmp_path_factory.getbasetemp() / "random.gguf"
    path.write_bytes(b"GGUF\x03\0\0\0" + content)
    try:
        with GgufFile.open(path) as file:
            _use(file)
    except ModelsError as error:
        assert str(error)  # noqa: PT017  the point is that nothing else is raised


def _use(file: GgufFile) -> None:
    """Do with a file what converting and loading do before any arithmetic."""
    for name in file.tensors:
        assert file.data(name).nbytes == file.tensors[name].nbytes
    config = DecoderConfig.from_gguf(file)
    assert config.vocabulary > 0
    assert Tokenizer.from_gguf(file).size > 0


def test_lies_cost_no_memory(tmp_path: Path) -> None:
    """A header that promises terabytes is refused within a few megabytes."""

    def open_all() -> None:
        for index, (content, error, _) in enumerate(HOSTILE.values()):
            path = tmp_path / f"{index}.gguf"
            path.write_bytes(content)
            with pytest.raises(error):
                GgufFile.open(path)

    open_all()
    assert peak_growth_bytes(open_all) < 8e6


def test_small_tensors_are_read_as_floats(tiny: Path) -> None:
    """Norms are not quantised; another type there is refused by name."""
    with GgufFile.open(tiny) as file:
        assert file.tensors["blk.0.attn_k.weight"].type is TensorType.F16
        assert file.floats("blk.0.attn_k.weight").dtype == np.float32
        with pytest.raises(UnsupportedModelError, match=r"attn_q\.weight is Q4_0; F32, F16 and BF16"):
            file.floats("blk.0.attn_q.weight")

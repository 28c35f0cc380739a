"""Scales bound what keys and values may be, come back whole or not at all, and fit one model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core.board_profile import EXACT_ONLY
from models.core.graph_info import SCALES_FILE
from models.errors import CorruptModelError
from models.graph_cache import GraphCache
from models.key_value_scales import LEAST, MAX_FILE_BYTES, STEPS, KeyValueScales, ScalesMeter

LAYERS, KV_HEADS, HEAD_DIM, TOKENS = 3, 2, 16, 20
FloatArray = npt.NDArray[np.float32]


def _segment(seed: int) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((2 * LAYERS, KV_HEADS, TOKENS, HEAD_DIM), np.float32)


def _scales(*seeds: int, headroom: float = 1.0) -> KeyValueScales:
    meter = ScalesMeter()
    for seed in seeds:
        meter.add(_segment(seed))
    return meter.scales(headroom=headroom)


@given(seeds=st.lists(st.integers(0, 99), min_size=1, max_size=3), angle=st.floats(0, 6.3))
def test_whatever_was_heard_fits_however_it_is_rotated(seeds: list[int], angle: float) -> None:
    """No key at any position, and no value, is beyond the last step."""
    steps = dict(_scales(*seeds).inputs())
    for layer in range(LAYERS):
        for seed in seeds:
            keys, values = _segment(seed)[2 * layer : 2 * layer + 2]
            first, second = np.split(keys, 2, axis=-1)
            rotated = np.cos(angle) * first - np.sin(angle) * second, np.sin(angle) * first + np.cos(angle) * second
            assert np.abs(np.concatenate(rotated, -1) / steps[f"{layer}.key"]).max() <= STEPS + 0.01
            assert np.abs(values / steps[f"{layer}.value"]).max() <= STEPS + 0.01


def test_the_greatest_value_takes_the_last_step() -> None:
    """Steps are no larger than they must be, but for the headroom."""
    values = np.abs(_segment(1)[1]).max(1)
    assert pytest.approx(values / _scales(1, headroom=1.25).values[0, 1], rel=1e-5) == (STEPS / 1.25)


def test_a_channel_that_is_always_zero_has_a_step() -> None:
    """The runtime divides by it."""
    meter = ScalesMeter()
    meter.add(np.zeros((2, 1, 4, 16), np.float32))
    assert np.full((1, 2, 1, 16), LEAST, np.float32).tolist() == meter.scales(headroom=1).values.tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("array", [0, 1])
def test_what_is_no_number_is_refused(array: int, bad: float) -> None:
    """A damaged model is told at its conversion."""
    segment = _segment(1)
    segment[array, 1, 5, 3] = bad
    meter = ScalesMeter()
    meter.add(segment)
    meter.add(_segment(2))
    with pytest.raises(CorruptModelError, match="no numbers"):
        meter.scales(headroom=1)


def test_they_come_back_as_they_were(tmp_path: Path) -> None:
    """Bit for bit; nothing else is left in the folder."""
    _scales(1).save(tmp_path)
    loaded = KeyValueScales.load(tmp_path)
    assert loaded is not None
    assert _scales(1).values.tolist() == loaded.values.tolist()
    assert [path.name for path in tmp_path.iterdir()] == [SCALES_FILE]


POWER_CUT = """
import os, sys
from pathlib import Path
import numpy as np
from models.key_value_scales import KeyValueScales

os.fsync = lambda _: os._exit(0)
KeyValueScales(np.ones((1, 2, 1, 16), np.float32)).save(Path(sys.argv[1]))
"""


def test_a_power_cut_leaves_the_graphs_folder_as_it_was(tmp_path: Path) -> None:
    """What was half written lies beside it: a sealed folder that holds more than its files is built again."""
    cache = GraphCache(tmp_path / "graphs", runtime="1", profile=EXACT_ONLY)
    graph = cache.path(Path("sha256-abc"))
    graph.mkdir(parents=True)
    (graph / "model").write_bytes(b"graph")
    cache.seal(graph)
    subprocess.run([sys.executable, "-c", POWER_CUT, str(graph)], check=True)
    assert len(list(cache.directory.iterdir())) == 2
    assert cache.flaw(graph) is None
    assert KeyValueScales.load(graph) is None


def test_nothing_there_is_nothing(tmp_path: Path) -> None:
    """Neither a file nor the folder."""
    assert KeyValueScales.load(tmp_path) is None
    assert KeyValueScales.load(tmp_path / "none") is None


def test_another_models_are_nothing(tmp_path: Path) -> None:
    """They belong to the folder that they were measured for."""
    one, other = tmp_path / "one", tmp_path / "other"
    other.mkdir()
    _scales(1).save(one)
    (other / SCALES_FILE).write_bytes((one / SCALES_FILE).read_bytes())
    assert KeyValueScales.load(one) is not None
    assert KeyValueScales.load(other) is None


@given(data=st.data())
def test_a_damaged_file_is_nothing(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Cut, longer, or with a bit turned: it will be measured again."""
    folder = tmp_path_factory.getbasetemp() / "damaged"
    _scales(1).save(folder)
    whole = (folder / SCALES_FILE).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    turned = bytearray(whole)
    turned[at] ^= 1 << data.draw(st.integers(0, 7))
    (folder / SCALES_FILE).write_bytes(data.draw(st.sampled_from([whole[:at], whole + b"\0", bytes(turned)])))
    assert KeyValueScales.load(folder) is None


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_a_step_that_is_none_is_refused(bad: float, tmp_path: Path) -> None:
    """Whoever wrote it so: the runtime would divide by it."""
    scales = _scales(1)
    scales.values[1, 0, 1, 7] = bad
    scales.save(tmp_path)
    assert KeyValueScales.load(tmp_path) is None


def test_neither_a_link_nor_a_large_file_is_read(tmp_path: Path) -> None:
    """What is no plain file of ours costs nothing."""
    _scales(1).save(tmp_path)
    elsewhere = (tmp_path / SCALES_FILE).rename(tmp_path / "elsewhere")
    (tmp_path / SCALES_FILE).symlink_to(elsewhere)
    assert KeyValueScales.load(tmp_path) is None
    (tmp_path / SCALES_FILE).unlink()
    with elsewhere.rename(tmp_path / SCALES_FILE).open("ab") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert KeyValueScales.load(tmp_path) is None

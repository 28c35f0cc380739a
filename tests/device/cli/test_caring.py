"""The care of models: export, import, pin, verify, and those of the mesh."""

import json
from pathlib import Path

import pytest

from tests.device.cli.conftest import Hearth
from tests.sim.daemon import SimulatedDaemon
from tests.sim.scripts import BUNDLE, STORIES

pytestmark = pytest.mark.usefixtures("daemon")


def test_export(hearth: Hearth, tmp_path: Path) -> None:
    """Into a file, or into a directory under the model's name; it is said when the stick may be taken out."""
    stick = tmp_path / "stick"
    stick.mkdir()
    done = hearth("models", "export", "stories-42m", str(stick))
    assert done.code == 0
    assert (stick / "stories-42m.hearth.tar").read_bytes() == BUNDLE
    assert done.out.startswith(f"stories-42m is in {stick}/stories-42m.hearth.tar (1.6 MB). All of it is on the medium")
    assert "export" in done.err
    again = hearth("models", "export", "stories-42m", str(stick))
    assert (again.code, again.out) == (1, "")
    assert "is there already" in again.err


def test_export_for_programs(hearth: Hearth, tmp_path: Path) -> None:
    """One object at the end: where it is."""
    done = hearth("models", "export", "stories-42m", str(tmp_path / "it"), "--json")
    last = json.loads(done.out.splitlines()[-1])
    assert last == {"stage": "done", "file": str(tmp_path / "it"), "size_bytes": len(BUNDLE)}
    assert done.err == ""


def test_an_export_that_goes_wrong_leaves_no_file(hearth: Hearth, daemon: SimulatedDaemon, tmp_path: Path) -> None:
    """Of a model that is not here; and of one whose bundle breaks off, with what to do."""
    stick = tmp_path / "stick"
    stick.mkdir()
    assert hearth("models", "export", "gone", str(stick)).code == 1
    daemon.breaks_exports = True
    done = hearth("models", "export", "stories-42m", str(stick))
    assert (done.code, done.out) == (1, "")
    assert "hearth models verify stories-42m" in done.err
    assert list(stick.iterdir()) == []


def test_import(hearth: Hearth, daemon: SimulatedDaemon, tmp_path: Path) -> None:
    """The daemon gets what is in the file, to the byte; what was removed for it is said."""
    (tmp_path / "it").write_bytes(BUNDLE)
    daemon.removing = [{key: STORIES[key] for key in ("name", "digest", "size_bytes")}]
    done = hearth("models", "import", str(tmp_path / "it"))
    assert daemon.received == BUNDLE
    assert done.out == "carried is here (98.1 MB, Apache-2.0). Try: hearth run carried\n"
    assert "Removed stories-42m (44.1 MB) to make room" in done.err
    assert hearth("models", "import", str(tmp_path / "it"), "--as", "mine").out.startswith("mine is here")


def test_import_for_programs(hearth: Hearth, daemon: SimulatedDaemon, tmp_path: Path) -> None:
    """One object a line, the last one the model."""
    (tmp_path / "it").write_bytes(BUNDLE)
    daemon.removing = [{key: STORIES[key] for key in ("name", "digest", "size_bytes")}]
    done = hearth("models", "import", str(tmp_path / "it"), "--json")
    steps = [json.loads(line) for line in done.out.splitlines()]
    assert [step["stage"] for step in steps] == ["import", "removed", "convert", "done"]
    assert steps[1]["removed"]["name"] == "stories-42m"
    assert steps[-1]["model"]["name"] == "carried"
    assert done.err == ""


def test_an_import_that_goes_wrong(hearth: Hearth, tmp_path: Path) -> None:
    """Of a file that is not there, and of one that is no bundle."""
    missing = hearth("models", "import", str(tmp_path / "gone"))
    assert (missing.code, missing.out) == (1, "")
    assert "gone cannot be read" in missing.err
    (tmp_path / "it").write_bytes(BUNDLE[:-1])
    refused = hearth("models", "import", str(tmp_path / "it"))
    assert (refused.code, refused.out) == (1, "")
    assert "the bundle is cut" in refused.err


def test_pin(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """It shows in the list, with when the model last answered."""
    assert "never" in hearth("ls").out
    assert hearth("models", "pin", "stories-42m").out.startswith("stories-42m is pinned")
    daemon.status["models"][0]["used_ago_s"] = 7500
    assert "2 h 5 min ago  pinned" in hearth("ls").out
    assert "pinned" in hearth("models", "show", "stories-42m").out
    assert json.loads(hearth("models", "unpin", "stories-42m", "--json").out)["pinned"] is False
    assert hearth("models", "unpin", "stories-42m").out.startswith("stories-42m is not pinned")
    assert json.loads(hearth("models", "pin", "stories-42m", "--json").out)["pinned"] is True
    assert hearth("models", "pin", "gone").code == 1


def test_verify(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Sound ones, repaired ones, damaged ones, and none at all."""
    done = hearth("models", "verify")
    assert (done.code, done.out) == (0, "stories-42m is sound.\n")
    assert "verify" in done.err
    (model,) = daemon.verification["verification"]["models"]
    damage = {"sha256": "ab" * 32, "size_bytes": 44_100_000, "chunks": list(range(20))}
    model |= {"sound": False, "repaired": True, "damage": [damage]}
    done = hearth("models", "verify", "stories-42m")
    assert (done.code, done.out.splitlines()[0]) == (0, "stories-42m was damaged, and is whole again.")
    assert "sha256-abababab of 44.1 MB: chunks 0, 1, 2, 3, 4, 5, 6, 7, ..." in done.out
    model |= {"repaired": False}
    done = hearth("models", "verify", "stories-42m")
    assert done.code == 1
    assert "DAMAGED" in done.out
    assert "hearth models pull stories-42m" in done.out
    daemon.verification["verification"]["models"].clear()
    assert hearth("models", "verify").out == "No model is here yet.\n"
    assert hearth("models", "verify", "gone").code == 1


def test_verify_for_programs(hearth: Hearth) -> None:
    """Progress, then what was found."""
    steps = [json.loads(line) for line in hearth("models", "verify", "--json").out.splitlines()]
    assert [step["stage"] for step in steps] == ["verify", "done"]
    assert steps[1]["verification"]["models"][0]["sound"] is True


def test_a_damaged_model_is_listed_as_that(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """It is here, and answers nobody."""
    daemon.status["models"][0]["damaged"] = True
    assert "damaged" in hearth("ls").out


def test_models_of_the_mesh(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Who has them, which are here, and which will not fit, with the reason."""
    done = hearth("ls", "--mesh")
    retired = "retired by kitchen (k3v5x2ab): it lies"
    assert f"smollm2-135m  5f1c8a03  98.1 MB  Llama-3.2  workshop and 2 more  won't fit  {retired}" in done.out
    published = "published by workshop (mq7wz4td)"
    assert f"stories-42m   c0ffee11  44.1 MB  MIT                             yes        {published}" in done.out
    assert "smollm2-135m (5f1c8a03) needs about 392 MB of disk" in done.err
    assert "smollm2-135m (5f1c8a03) is not passed on" in done.err
    assert "estimated from sizes" in done.err
    assert json.loads(hearth("models", "ls", "--mesh", "--json").out) == daemon.mesh_models
    daemon.mesh_models |= {"left_out": 3, "untold": 1}
    done = hearth("ls", "--mesh")
    assert "3 more models of the mesh" in done.err
    assert "not told of 1 model of this node" in done.err
    daemon.mesh_models["models"].clear()
    assert "Nobody in reach holds a model." in hearth("ls", "--mesh").out

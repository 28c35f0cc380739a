"""`make install` on a laptop: the command, its own venv and a user service; `make uninstall` undoes it."""

import os
import subprocess
from pathlib import Path

import pytest

# What is no module must be installed too.
FILES = """
from pathlib import Path
import device, mesh, models, tui
print(Path(device.__file__).parent / "cli" / "main.py")
print(Path(mesh.__file__).parent / "core" / "wordlist.txt")
print(Path(models.__file__).parent / "catalogue.toml")
print(Path(models.__file__).parent / "calibration.txt")
print(Path(tui.__file__).parent / "hearth.tcss")
"""
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def make(target: str, home: Path) -> str:
    """Run a make target for a user who lives in `home`."""
    env = {**os.environ, "HOME": str(home)}
    done = subprocess.run(["make", target], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_install_and_uninstall(tmp_path: Path) -> None:
    """What was installed works from its own venv; afterwards only the owner's data is left."""
    data = tmp_path / ".local/share/hearth/hearth.toml"
    data.parent.mkdir(parents=True)
    data.write_text('[node]\nname = "kitchen"\n')
    command, unit = tmp_path / ".local/bin/hearth", tmp_path / ".config/systemd/user/hearth.service"
    assert str(command) in make("install", tmp_path)
    helped = subprocess.run([command, "--help"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "usage: hearth" in helped.stdout
    assert f"ExecStart={command} serve" in unit.read_text()
    venv = tmp_path / ".local/share/hearthmesh/venv/bin/python"
    listed = subprocess.run([venv, "-c", FILES], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert all(Path(line).is_file() and line.startswith(str(tmp_path)) for line in listed.splitlines())
    assert len(listed.splitlines()) == 5
    make("uninstall", tmp_path)
    assert not command.exists()
    assert not unit.exists()
    assert not venv.exists()
    assert data.exists()

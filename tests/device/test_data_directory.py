"""The data directory: private, one daemon at a time, clear about what is wrong with it."""

import os
import resource
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from device.data_directory import DataDirectory, bind_unix_socket, write_atomically
from device.errors import AlreadyRunningError, DataDirectoryError


def test_it_is_made_private_and_held_once(tmp_path: Path) -> None:
    """The second to come is told who holds it; afterwards it is free again."""
    path = tmp_path / "deep" / "data"
    with DataDirectory(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        with pytest.raises(AlreadyRunningError, match=f"process {os.getpid()}") as raised, DataDirectory(path):
            pass
        assert str(path) in str(raised.value)
    with DataDirectory(path) as again:
        assert again.path == path


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    """After kill -9 nothing has to be cleaned up by hand."""
    program = (
        "import pathlib, sys, time\nfrom device.data_directory import DataDirectory\n"
        "with DataDirectory(pathlib.Path(sys.argv[1])):\n print('held', flush=True)\n time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunningError, match=f"process {process.pid}"), DataDirectory(tmp_path):
            pass
        process.kill()
    with DataDirectory(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """On a read-only file system (sysfs takes no new directories, not even from root), and below a file."""
    (tmp_path / "file").touch()
    for path in (Path("/sys/hearth"), tmp_path / "file" / "data"):
        with pytest.raises(DataDirectoryError, match=str(path)) as raised, DataDirectory(path):
            pass
        assert "--data" in raised.value.hint


def test_a_full_disk_shows_at_the_start(tmp_path: Path) -> None:
    """Where not even a few bytes can be written, that is said before anything else is done."""
    program = (
        "import pathlib, resource, sys\nfrom device.data_directory import DataDirectory\n"
        "from device.errors import DataDirectoryError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try:\n with DataDirectory(pathlib.Path(sys.argv[1])): pass\n"
        "except DataDirectoryError as error: print(error)"
    )
    said = subprocess.run(
        [sys.executable, "-B", "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=30
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 0
    assert said.stdout == f"the data directory {tmp_path} cannot be used: File too large\n"


def test_what_is_written_atomically_is_private_and_whole(tmp_path: Path) -> None:
    """A second write replaces the first; nothing half-written is left beside it."""
    for content in (b"first", b"second"):
        write_atomically(tmp_path / "facts", content)
    assert [path.name for path in tmp_path.iterdir()] == ["facts"]
    assert (tmp_path / "facts").read_bytes() == b"second"
    assert stat.S_IMODE((tmp_path / "facts").stat().st_mode) == 0o600
    with pytest.raises(DataDirectoryError, match="No such file or directory"):
        write_atomically(tmp_path / "absent" / "facts", b"")


def test_a_run_says_where_it_is_and_takes_that_back(tmp_path: Path) -> None:
    """run.json is there while the directory is held."""
    with DataDirectory(tmp_path) as directory:
        directory.write_run_file({"http_port": 1})
        assert (tmp_path / "run.json").read_text() == '{\n "http_port": 1\n}\n'
    assert not (tmp_path / "run.json").exists()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """What a killed daemon left does not stop the next; the new one is private and answers."""
    path = tmp_path / "api.sock"
    bind_unix_socket(path).close()
    with bind_unix_socket(path, mode=0o660), socket.socket(socket.AF_UNIX) as client:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        client.connect(str(path))
        assert [entry.name for entry in tmp_path.iterdir()] == ["api.sock"]


def test_no_other_file_is_taken_for_a_socket(tmp_path: Path) -> None:
    """A file of that name is somebody's: it stays, and the daemon does not start."""
    path = tmp_path / "api.sock"
    path.write_text("precious")
    with pytest.raises(DataDirectoryError, match="is no socket; it was left"):
        bind_unix_socket(path)
    assert path.read_text() == "precious"


def test_a_path_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    """The kernel takes 107 bytes; the error says how many of them are the directory's."""
    folder = tmp_path / ("d" * 100)
    with pytest.raises(DataDirectoryError, match=r"too long for a socket: at most \d+ bytes") as raised:
        bind_unix_socket(folder / "api.sock")
    assert "shorter" in raised.value.hint


def test_a_socket_in_no_directory_is_said(tmp_path: Path) -> None:
    """A missing runtime directory is an error of the directory, not a traceback."""
    with pytest.raises(DataDirectoryError, match="No such file"):
        bind_unix_socket(tmp_path / "absent" / "api.sock")

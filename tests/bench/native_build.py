"""llama.cpp built for the very machine that the benchmark runs on: in a virtual environment of its own, once.

It is no part of the repository's lock.  What it leaves lies beside the models of the benchmark, in the cache directory.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = "llama-cpp-python"
VERSION = "0.3.36"
OPTIONS = ("-DGGML_NATIVE=ON", "-DLLAVA_BUILD=OFF")
# Some virtual machines announce these units and end whoever uses them.
NO_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
BUILT = "built"  # the file that says it was finished
LAST_LINES = 15


def native_python(folder: Path) -> Path | None:
    """Return an interpreter that has llama.cpp for this machine; built below `folder` where it is not there yet.

    None, with the reason on stderr, where it cannot be built: that takes a C++ compiler and some minutes.
    """
    home = folder / f"{PACKAGE}-{VERSION}-{_machine()}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "building.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second run waits for the first one's
        return home / "bin" / "python" if (home / BUILT).exists() or _build(home) else None


def _build(home: Path) -> bool:
    python = home / "bin" / "python"
    sys.stderr.write(f"building {PACKAGE} {VERSION} for this machine (once; some ten minutes)\n")
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    command = ["nice", "-n", "19", str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--no-binary", PACKAGE, f"{PACKAGE}=={VERSION}"],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(),
    )
    if done.returncode != 0:
        said = "\n".join(done.stdout.splitlines()[-LAST_LINES:])
        sys.stderr.write(f"left out: llama.cpp cannot be built here\n{said}\n")
        return False
    (home / BUILT).touch()
    return True


def _environment() -> dict[str, str]:
    flags = NO_AMX if platform.machine() == "x86_64" else ""
    return {
        **os.environ,
        "CMAKE_ARGS": " ".join(OPTIONS),
        "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1),
        "CFLAGS": flags,
        "CXXFLAGS": flags,
    }


def _machine() -> str:
    """Name what such a build depends on: the processor's features."""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    features = " ".join(sorted(found[1].split())) if found else ""
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:12]}"

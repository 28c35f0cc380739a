"""What a machine lacks is named, and in CI (env CI=true) nothing may be left out."""

import os
import shutil
import signal

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks that speak of the machine, and let Ctrl-C reach what the tests start."""
    config.addinivalue_line("markers", "program(name): needs a program of the system")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started in the background, a shell's children inherit that SIGINT is ignored; ours must not.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what cannot run here, with the reason."""
    lacking = [name for mark in item.iter_markers("program") for name in mark.args if not _installed(name)]
    if lacking:
        _leave_out(f"{', '.join(lacking)} is not installed")
    if item.get_closest_marker("lab") and os.geteuid() != 0:
        _leave_out("network namespaces need root")


def _leave_out(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI leaves nothing out: {reason}")
    pytest.skip(reason)


def _installed(name: str) -> bool:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") is not None

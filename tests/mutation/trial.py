"""Run tests against a module whose code is another one's, in a process forked for that."""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from hypothesis import settings

# What tests of the core load beside our own modules: it is there when a process is forked.
LOADED: Final = ("cbor2", "cryptography", "hypothesis.internal.conjecture.engine", "nacl.bindings", "pytest_asyncio")
PLUGINS: Final = ("pytest_asyncio.plugin", "_hypothesis_pytestplugin")
EXAMPLES: Final = 20  # of each law; drawn the same way each time
MEMORY_BYTES: Final = 4 * 2**30


@dataclass(frozen=True)
class Outcome:
    """noticed: whether a test failed, or nothing came to an end; cpu_s: what it took."""

    noticed: bool
    cpu_s: float
    took_s: float


class Swapped(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads other code in place of one module's."""

    def __init__(self, name: str, path: Path, code: str) -> None:
        self._name = name
        self._path = str(path)
        self._code = code

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """Answer for that module alone."""
        del path, target
        if fullname != self._name:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=self._path)

    def exec_module(self, module: ModuleType) -> None:
        """Run the other code."""
        exec(compile(self._code, self._path, "exec", dont_inherit=True), vars(module))  # noqa: S102  a mutant of ours


class FewExamples:
    """Has laws tried on a few examples, the same ones each time, and what is quick to fail run first."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Order the tests, and bound those that draw examples."""
        for item in items:
            function = getattr(item, "obj", None)
            own = getattr(function, "_hypothesis_internal_use_settings", None)
            if function is not None and own is not None:
                few = min(EXAMPLES, own.max_examples)
                bounded = settings(own, max_examples=few, derandomize=True, database=None, phases=own.phases[:3])
                function._hypothesis_internal_use_settings = bounded
        items.sort(key=lambda item: hasattr(getattr(item, "obj", None), "hypothesis"))


def load() -> None:
    """Load what needs loading once."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in (*LOADED, *PLUGINS):
        importlib.import_module(name)


def run(name: str, path: Path, code: str, *, tests: Sequence[str], log: Path, cpu_s: float) -> Outcome:
    """Run tests with this code for a module, until one fails or so many seconds of CPU are over."""
    if name in sys.modules:
        raise RuntimeError(f"{name} is loaded already")
    sys.stdout.flush()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_child(Swapped(name, path, code), tests, log, cpu_s)
    _, status, used = os.wait4(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGINT:
        raise KeyboardInterrupt
    return Outcome(status != 0, used.ru_utime + used.ru_stime, time.monotonic() - started)


def _be_the_child(swapped: Swapped, tests: Sequence[str], log: Path, cpu_s: float) -> None:
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s) + 1, int(cpu_s) + 2))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with log.open("w") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            sys.meta_path.insert(0, swapped)
            code = int(pytest.main([*_options(), *tests], plugins=[FewExamples()]))
    finally:
        os._exit(code)


def _options() -> list[str]:
    plugins = [option for name in PLUGINS for option in ("-p", name)]
    ours = "addopts=--import-mode=importlib"  # not what looks for mistakes in the configuration, of which half is left
    return [
        *("-x", "-q", "--tb=line", "--no-header", "--assert=plain"),
        *("-p", "no:cacheprovider", "-p", "no:warnings", "-p", "no:unraisableexception"),
        *plugins,
        *("-o", ours),
    ]

"""`hearth bench`: how fast this board answers, and what that takes of its memory."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from device.cli import session
from device.cli.printing import BOLD, clip, columns, print_facts, print_json, print_note, print_table, styled
from device.wording import count, short_id, size, speed

if TYPE_CHECKING:
    from device.api import Status
    from device.benchmark import Figures
    from device.client import DaemonClient

AT_ONCE, MAX_AT_ONCE = 4, 16


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("bench", parents=[shared], help="measure how fast this board answers")
    parser.add_argument("model", nargs="?", default="default", metavar="MODEL", help="name or digest of the model")
    parser.add_argument(
        "--at-once",
        type=int,
        default=AT_ONCE,
        metavar="N",
        help=f"how many questions are asked at once in one of the tests; 1 to {MAX_AT_ONCE}, {AT_ONCE} by default",
    )
    parser.set_defaults(run=run, misused=parser.error)


def run(args: argparse.Namespace) -> int:
    """Measure and show."""
    if not 1 <= args.at_once <= MAX_AT_ONCE:
        args.misused(f"argument --at-once: 1 to {MAX_AT_ONCE}")
    import os  # noqa: PLC0415  a verb loads what it needs, `--help` nothing

    load_average = round(os.getloadavg()[0], 2)
    figures, status = session.run(args, lambda client: _measure(client, args))
    report = {**_report(figures, status), "load_average": load_average}
    if args.json:
        print_json(report)
    else:
        _print(report)
    return 0


async def _measure(client: "DaemonClient", args: argparse.Namespace) -> "tuple[Figures, Status]":
    from device.benchmark import Benchmark  # noqa: PLC0415  as above

    line = _Line(quiet=args.json)
    try:
        bench = Benchmark(client, model=args.model, questions=args.at_once, progress=line.show)
        return await bench.run(), await client.status()
    finally:
        line.end()


class _Line:
    """Says on stderr what is being measured: redrawn in place on a terminal, once a measure elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._open = False

    def show(self, what: str, number: int, of: int) -> None:
        """Draw."""
        if self._quiet:
            return
        if self._terminal:
            room = columns() - 1  # the last column would wrap on some terminals
            sys.stderr.write("\r" + clip(f"{what} ({number} of {of})" if of > 1 else what, room).ljust(room))
            sys.stderr.flush()
            self._open = True
        elif number == 1:
            print_note(what)

    def end(self) -> None:
        """Wipe what was drawn: it says nothing any more."""
        if self._open:
            sys.stderr.write("\r" + " " * (columns() - 1) + "\r")
            sys.stderr.flush()
            self._open = False


def _report(figures: "Figures", status: "Status") -> dict[str, Any]:
    """The one object of --json; see docs/ARCHITECTURE.md."""
    import platform  # noqa: PLC0415  as above
    from dataclasses import asdict  # noqa: PLC0415  as above
    from importlib.metadata import version  # noqa: PLC0415  as above

    from device.board import read_board  # noqa: PLC0415  as above

    held = next((model for model in status.models if model.digest == figures.model_digest), None)
    return {
        "node": status.name,
        "model": figures.model,
        "model_digest": figures.model_digest,
        "model_bytes": held.size_bytes if held else 0,
        "board": asdict(read_board()),
        "versions": {
            "hearth": status.version,
            "onnxruntime": version("onnxruntime"),
            "python": platform.python_version(),
            "linux": platform.release(),
            "machine": platform.machine(),
        },
        "decode": asdict(figures.decode),
        "prefill": asdict(figures.prefill),
        "at_once": {"questions": figures.questions, **asdict(figures.at_once)},
        "memory": {"anonymous_bytes": figures.anonymous_bytes, "file_bytes": figures.file_bytes},
    }


def _print(report: dict[str, Any]) -> None:
    board, versions, memory = report["board"], report["versions"], report["memory"]
    print(f"{styled(report['model'], BOLD, sys.stdout)} on {report['node']}")
    machine = ", ".join(text for text in (board["model"], board["processor"]) if text) or "unknown"
    print_facts(
        [
            ("model", f"{short_id(report['model_digest'])}, {size(report['model_bytes'])}"),
            ("board", f"{machine}, {count(board['cores'], 'core')}, {size(board['memory_bytes'])} of memory"),
            ("versions", f"hearth {versions['hearth']}, onnxruntime {versions['onnxruntime']}"),
            ("", f"Python {versions['python']}, Linux {versions['linux']} on {versions['machine']}"),
            ("load", f"{report['load_average']:.2f} in the minute before"),
        ]
    )
    print()
    at_once = report["at_once"]
    together = f"{count(at_once['questions'], 'answer')} of {at_once['tokens']} tokens in all, prompts included"
    print_table(
        ("MEASURE", "FIGURE", "OF"),
        [
            ("decode", speed(report["decode"]["tokens_per_s"]), f"an answer of {report['decode']['tokens']} tokens"),
            ("prefill", speed(report["prefill"]["tokens_per_s"]), f"a prompt of {report['prefill']['tokens']} tokens"),
            (f"{at_once['questions']} at once", speed(at_once["tokens_per_s"]), together),
            ("memory", size(memory["anonymous_bytes"]), f"its own, and {size(memory['file_bytes'])} of files"),
        ],
    )

"""The `hearth` command: parse, let the verb do it, say what went wrong.  The only place that decides exit codes.

0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C, 141 the reader of a pipe went away.
"""

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from device.cli import (
    ask,
    bench,
    chat,
    community,
    complete,
    contributions,
    doctor,
    guests,
    join,
    keys,
    leave,
    log,
    models,
    pair,
    peers,
    propose,
    record,
    rekey,
    run,
    serve,
    status,
    tui,
    verify,
    vote,
)
from device.cli.printing import print_error
from device.errors import DeviceError

_WRONG_CHOICE = re.compile(r"invalid choice: '(?P<typed>.*)' \(choose from (?P<choices>.*)\)", re.DOTALL)

FAILED, INTERRUPTED, PIPE_CLOSED = 1, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a byte that is no text is no reason to stop
    args = build_parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except DeviceError as error:
        print_error(str(error), error.hint)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What is left in the buffer would fail again at exit: let it go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        print_error(str(error), "check the file, the disk or the terminal it names")
        return FAILED
    return code


def build_parser() -> argparse.ArgumentParser:
    """Build the whole grammar; nothing heavier than argparse is loaded for it."""
    parser = _Parser(
        prog="hearth",
        description="A language model of one's own, shared with the neighbours.",
        epilog="hearth VERB --help says more. Start with: hearth serve, then hearth tui.",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="data directory of the node (also HEARTH_DATA)")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    verbs = parser.add_subparsers(metavar="VERB", required=True, title="verbs")
    shared = argparse.ArgumentParser(add_help=False)
    # Left out behind a verb, an option must not wipe what stood before it: hence no defaults here.
    shared.add_argument(
        "--data", type=Path, metavar="DIR", default=argparse.SUPPRESS, help="data directory of the node"
    )
    printing = argparse.ArgumentParser(add_help=False, parents=[shared])
    printing.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON, one object a line"
    )
    parser.set_defaults(json=False)
    for verb in (serve, tui):
        verb.add(verbs, shared)
    asking = (status, doctor, bench, ask, chat, run, complete)
    belonging = (pair, join, leave, rekey, peers, community, propose, vote, log, contributions, record, verify)
    for verb in (*asking, *belonging, models, keys, guests):
        verb.add(verbs, printing)
    return parser


class _Parser(argparse.ArgumentParser):
    """argparse, which names the choices there are, with the one that was probably meant."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the usage and leave."""
        wrong = _WRONG_CHOICE.search(message)
        if wrong is None:
            super().error(message)
        from difflib import get_close_matches  # noqa: PLC0415  costs every start otherwise

        near = get_close_matches(wrong["typed"], [one.strip(" '") for one in wrong["choices"].split(",")], n=1)
        super().error(f"{message}; did you mean {near[0]}?" if near else message)


class _Version(argparse.Action):
    """Print the version; where it stands is looked up only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415  costs every start otherwise

        print(f"hearth {version('hearthmesh')}")
        parser.exit()

"""`hearth tui`: the terminal user interface."""

import argparse
import sys

from device.cli import session
from device.cli.printing import print_error


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("tui", parents=[shared], help="open the terminal user interface")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the interface until the person leaves it; the daemon stays."""
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):  # Textual draws on stderr
        print_error("the TUI needs a terminal", "in a script use: hearth status --json")
        return 1
    from tui.app import HearthApp  # noqa: PLC0415  Textual takes its time to load

    app = HearthApp(session.socket_of(args), data_dir=args.data)
    app.run()
    return app.return_code or 0

"""`hearth doctor`: why neighbours are missing, and what to do about it."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from device.cli import session
from device.cli.printing import AMBER, DIM, RED, print_json, styled
from device.wording import count

if TYPE_CHECKING:
    from device.api import Diagnosis, Finding

COLOURS = {"fault": RED, "warning": AMBER, "note": DIM}


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("doctor", parents=[shared], help="say what keeps neighbours away, and what to do")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show what was found; 0 when nothing is wrong."""
    from device.errors import DaemonUnreachableError  # noqa: PLC0415  a verb loads what it needs, `--help` nothing

    try:
        diagnosis = session.run(args, lambda client: client.doctor())
    except DaemonUnreachableError as error:
        diagnosis = _without_daemon(args, error)
    if args.json:
        print_json(diagnosis)
    else:
        _print(diagnosis)
    return 0 if diagnosis.sound else 1


def _without_daemon(args: argparse.Namespace, error: Exception) -> "Diagnosis":
    """Say that nobody answers; a broken configuration is the likeliest reason why it did not start."""
    from device.api import Diagnosis, Finding  # noqa: PLC0415  as above
    from device.config import load_config  # noqa: PLC0415  as above
    from device.errors import ConfigError  # noqa: PLC0415  as above

    findings = [Finding(severity="fault", what=str(error), remedy=getattr(error, "hint", ""))]
    try:
        load_config(args.data, env=os.environ)
    except ConfigError as wrong:
        findings.insert(0, Finding(severity="fault", what=str(wrong), remedy=wrong.hint))
    return Diagnosis(sound=False, findings=tuple(findings))


def _print(diagnosis: "Diagnosis") -> None:
    if diagnosis.sound:
        print(f"Nothing is wrong: {diagnosis.reached} of {count(diagnosis.members, 'other member')} in reach.")
    for finding in sorted(diagnosis.findings, key=_rank):
        colour = COLOURS.get(finding.severity, AMBER)
        print(f"{styled(f'{finding.severity}:', colour, sys.stdout)} {finding.what}")
        print(f"  {styled('do:', DIM, sys.stdout)} {finding.remedy}")


def _rank(finding: "Finding") -> int:
    order = list(COLOURS)
    return order.index(finding.severity) if finding.severity in order else len(order)

"""`hearth chat`: a conversation, line by line."""

import argparse
import sys
from typing import TYPE_CHECKING

from device.cli import answers, session
from device.cli.printing import print_error, print_json, print_note
from device.errors import DeviceError

if TYPE_CHECKING:
    from device.api import ChatMessage

PROMPT = "> "
COMMANDS = """\
/clear         forget the conversation so far
/model NAME    ask another model
/node NODE     ask local, auto or a neighbour's ID
/bye           leave (also exit, quit, Ctrl-D); Ctrl-C stops an answer"""
LAST_WORDS = ("exit", "quit")


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("chat", parents=[shared], help="have a conversation")
    answers.add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Converse until the person, or the pipe, has no more to say."""
    session.run(args, lambda client: client.status())  # a daemon that is down is said before the first question
    interactive = sys.stdin.isatty()
    if interactive:
        import readline  # noqa: F401, PLC0415  gives input() a memory and arrow keys

        print_note("Ask away; /help shows the commands, Ctrl-D leaves.")
    conversation = answers.opening(args)
    while (line := _read_line(interactive=interactive)) is not None:
        if line in LAST_WORDS:
            break
        if line.startswith("/"):
            if not _obey(line, args, conversation):
                break
        elif line:
            _take_turn(line, args, conversation, interactive=interactive)
    return 0


def _read_line(*, interactive: bool) -> str | None:
    """The next line without its surroundings; None at the end."""
    try:
        return input(PROMPT if interactive else "").strip()
    except EOFError:
        if interactive:
            print()
        return None
    except KeyboardInterrupt:
        print()
        raise


def _take_turn(
    question: str, args: argparse.Namespace, conversation: "list[ChatMessage]", *, interactive: bool
) -> None:
    """Ask within the conversation; it grows by the turn only if the answer was finished."""
    turn = answers.said("user", question)
    messages = [*conversation, turn]
    try:
        text, finished = session.run(args, lambda client: answers.stream(client, messages, args, quiet=args.json))
    except KeyboardInterrupt:
        if not interactive:
            raise
        print_note("stopped")
        return
    except DeviceError as error:
        if not interactive:
            raise
        print_error(str(error), error.hint)
        return
    conversation += [turn, answers.said("assistant", text)]
    if args.json:
        print_json(answers.as_json(text, finished))
    else:
        answers.print_answerer(finished)


def _obey(line: str, args: argparse.Namespace, conversation: "list[ChatMessage]") -> bool:
    """Do what a /command says; False to leave."""
    match line.split():
        case ["/bye" | "/exit" | "/quit"]:
            return False
        case ["/clear"]:
            conversation[:] = answers.opening(args)
        case ["/model", name]:
            args.model = name
        case ["/node", node]:
            args.node = node
        case ["/help" | "/model" | "/node", *_]:
            print_note(COMMANDS)
        case [unknown, *_]:
            print_note(f"unknown command {unknown}\n{COMMANDS}")
    return True

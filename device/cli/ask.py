"""`hearth ask`: one question, one answer."""

import argparse
import sys

from device.cli import answers, session
from device.cli.printing import print_json

MAX_QUESTION_CHARACTERS = 1 << 20


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("ask", parents=[shared], help="ask one question")
    parser.add_argument("question", nargs="*", help="the question; without it, or with -, standard input is read")
    answers.add_options(parser)
    parser.set_defaults(run=run, misused=parser.error)


def run(args: argparse.Namespace) -> int:
    """Ask and print the answer."""
    ask(args, " ".join(args.question))
    return 0


def ask(args: argparse.Namespace, question: str) -> None:
    """Ask `question`, or what stands on standard input, and print the answer and who gave it."""
    question = given_or_piped(args, question)
    messages = [*answers.opening(args), answers.said("user", question)]
    text, finished = session.run(args, lambda client: answers.stream(client, messages, args, quiet=args.json))
    if args.json:
        print_json(answers.as_json(text, finished))
    else:
        answers.print_answerer(finished)


def given_or_piped(args: argparse.Namespace, question: str) -> str:
    """Return what stands in the command, or on standard input; no text, or too much of it, is wrong usage."""
    if question not in ("", "-"):
        return question
    if sys.stdin.isatty():
        print("Your text, then Ctrl-D:", file=sys.stderr)
    text = sys.stdin.read(MAX_QUESTION_CHARACTERS + 1)
    if not text.strip():
        args.misused("there is no text: give it as an argument or on standard input")
    if len(text) > MAX_QUESTION_CHARACTERS:
        args.misused(f"the text has more than {MAX_QUESTION_CHARACTERS} characters")
    return text

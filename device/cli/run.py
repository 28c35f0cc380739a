"""`hearth run MODEL [QUESTION]`: ask or chat with one model, as Ollama's users know it."""

import argparse

from device.cli import answers, ask, chat


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("run", parents=[shared], help="ask or chat with one model")
    parser.add_argument("model", help="name or digest of the model")
    parser.add_argument("question", nargs="*", help="the question; without it a conversation begins")
    answers.add_options(parser, model=False)
    parser.set_defaults(run=run, misused=parser.error)


def run(args: argparse.Namespace) -> int:
    """Ask the question, or converse."""
    if not args.question:
        return chat.run(args)
    ask.ask(args, " ".join(args.question))
    return 0

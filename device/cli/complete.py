"""`hearth complete`: how a model goes on with a text.  For models that hold no conversations, and all others."""

import argparse

from device.cli import answers, ask, session
from device.cli.printing import print_json


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser("complete", parents=[shared], help="have a model go on with a text")
    parser.add_argument("text", nargs="*", help="the text; without it, or with -, standard input is read")
    answers.add_options(parser, system=False)
    parser.set_defaults(run=run, misused=parser.error)


def run(args: argparse.Namespace) -> int:
    """Print how the text goes on, and who says so."""
    text = ask.given_or_piped(args, " ".join(args.text))

    sampling = answers.sampling_of(args)
    rest, finished = session.run(
        args,
        lambda client: answers.printed(
            client.complete(text, model=args.model, node=args.node, sampling=sampling), quiet=args.json
        ),
    )
    if args.json:
        print_json(answers.as_json(rest, finished))
    else:
        answers.print_answerer(finished)
    return 0

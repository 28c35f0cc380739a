"""`hearth serve`: the daemon, in the foreground, until it is told to stop."""

import argparse


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add the verb to the grammar."""
    parser = verbs.add_parser(
        "serve",
        parents=[shared],
        help="run this node, in the foreground",
        description="Run this node until SIGTERM or Ctrl-C. Settings: hearth.toml in the data directory, "
        "or HEARTH_SECTION_KEY variables.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the node."""
    from device.allocator import keep_buffers  # noqa: PLC0415  the other verbs need none of this
    from device.config import load_config  # noqa: PLC0415  as above
    from device.node import serve  # noqa: PLC0415  as above

    keep_buffers()
    return serve(load_config(args.data))

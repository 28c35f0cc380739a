"""The `hearth` command: one file a verb, each of which parses, asks the daemon through `device.client`, and prints.

Imports at the top of these modules are argparse and what is as light: `hearth --help` loads nothing else, and a verb
loads what it needs when it runs.  `serve` alone imports the node.
Start reading at `main.py`, then `ask.py`.
"""

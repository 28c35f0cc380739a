"""The mesh lab: whole nodes in network namespaces, and what networks do to them (`make lab`; needs root).

`net.py` makes the networks, `wire.py` a slow one, `node.py` is the program that runs in them, `nodes.py` drives it.
Tests say how soon something happens by the fixture `measured`; they fail only by what never happens.
"""

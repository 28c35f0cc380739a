"""Models travel from neighbour to neighbour: what this node gives, and what it fetches.

It joins `mesh` (bulk messages) and `models` (store, arrivals); it decides nothing that `device.core` can decide.
Start reading at `sharing.py`, then `serving.py` (the giving side) and `fetching.py` (the taking one).
"""

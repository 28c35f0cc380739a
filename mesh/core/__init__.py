"""The mesh's pure logic: formats, handshakes, sessions, ledger, membership and pairing.

It imports neither asyncio nor sockets, clock, files or randomness: time and random bytes are arguments.
Start reading at `frames.py` (what is on the wire), then `lane.py` and `pairing.py` (the state machines).
"""

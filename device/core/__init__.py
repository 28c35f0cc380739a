"""What the daemon decides, without doing it: who answers, what a request says, what neighbours say to each other.

Pure: no asyncio, sockets, clock, files or randomness; time and randomness are arguments.
May import `models.core` and `mesh.core`, nothing that does I/O.
Start reading at `routing.py`.
"""

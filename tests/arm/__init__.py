"""The engine on the boards' processors, emulated: `make test-arm`.  Start reading in __main__.py.

The wheels of the lock are unpacked beside Debian's Python for aarch64, and the daemon's own engine host starts the
worker there, under qemu-aarch64, once for each kind of board.  What is looked for: that it works and answers as it
does here, and that no kernel falls onto a path many times slower than the processor must be.  Not its speed.
"""

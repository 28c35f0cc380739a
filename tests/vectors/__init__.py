"""Test vectors: every frame and message of docs/protocol.md as bytes, for any implementation of it.

Each JSON file has `about`, `cases` (inputs and the bytes they give) and `invalid` (bytes, and why they are refused).
Byte strings are lower-case hex; integers of more than 53 bits are texts.  `python -m tests.vectors.generate` writes
the files anew, the same bytes each time; the tests here hold our implementation to the files, without the generator.
Start reading at `generate.py`, which names the families.
"""

"""The mesh moves bytes: it finds, pairs and links nodes and carries sealed messages between them.

It imports the standard library and its own third-party pieces, never `models`, `device` or `tui`.
Start reading at `node.py` (what the device uses), then `core/lane.py` (how a link becomes private).
"""

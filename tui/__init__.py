"""The terminal user interface: this node, its neighbours, its models, and asking them.

Imports Textual, and of the node only `device.client`: the screen knows what everybody may know.
Widgets draw and post messages; `talks.py` speaks with the daemon, in workers; `app.py` stands between them.
Start reading at `app.py`, then `messages.py`.
"""

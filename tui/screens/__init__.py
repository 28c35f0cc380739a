"""The tabs and the dialogs: each lays out widgets and says which keys do what.

Imports `tui.widgets` and `tui.messages`.
No tab speaks with the daemon: it posts what is wanted and shows what arrives.
Start reading at `overview.py`.
"""

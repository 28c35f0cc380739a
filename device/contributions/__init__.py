"""What members and this node give each other: counted, signed by both ends, and written into the community's record.

It joins `mesh` (messages, the record) with `device.core.contribution_accounts`, which decides; nothing here spends
anything.  Start reading at `exchange.py`; `accounts_file.py` keeps the counts on the disk.
"""

"""The community's record for its owner: told line by line, asked what it says of models, and signed into.

It joins `mesh.record` with what `device.core.governance` and `device.core.record_text` make of it.  Start reading at
`reading.py`; `log.py` tells entries, `publishing.py` adds some.
"""

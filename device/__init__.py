"""The node: what joins mesh and models into a hearth, its API and its command.

Imports mesh and models; never numpy, onnxruntime or anything else of the worker's.
`core/` decides (pure), `http/` serves, `cli/` is the command; only `tui` imports `device`, and of it only `client`.
Start reading at `node.py`, the one place where everything is put together, then `queries.py`.
"""

"""Pure logic of models: block formats, sampling, stop strings, manifests, the worker's protocol.

Imports numpy where arrays are worked on and the standard library, nothing that does I/O, reads a clock or draws random
numbers: those are arguments. Modules that the daemon shares (manifest, worker_protocol) keep to the standard library.
Start reading at quantization.py for weights, at sampling.py for how a token is chosen.
"""

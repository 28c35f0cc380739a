"""Models: fetch, keep, convert and run them; this package does the arithmetic and nothing else.

It imports neither mesh nor device. Two sides live here: the worker's (engine, graph, gguf, tokenizer, worker; numpy and
onnxruntime are allowed) and the daemon's (host, store, fetch, catalogue; neither is), joined by core.worker_protocol.
Start reading at generation.py for how an answer comes about, at graph.py for how a GGUF file becomes an ONNX graph.
"""

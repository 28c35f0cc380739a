"""The HTTP side: the public API on loopback and, where it is open, the LAN; the owner's API on a unix socket; no logic.

Imports `device.core`, the use-cases (`queries`, `library`, `node`'s parts) and starlette; uvicorn in `server.py` alone.
Every error leaves in OpenAI's shape, or on Ollama's paths in Ollama's (`errors.py`).
Who gets in is decided in `gate.py`, before any route.
Start reading at `app.py`, then `turns.py`, `chat.py` and `owner.py`; `openapi.py` is the document of it all.
"""

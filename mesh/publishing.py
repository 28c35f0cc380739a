"""Signatures that count outside the mesh too: what a node publishes, so that anybody can check it with any library."""

from mesh.core import crypto
from mesh.errors import CryptoError


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a plain signature holds."""
    try:
        crypto.verify_plainly(public, signature, message)
    except CryptoError:
        return False
    return True

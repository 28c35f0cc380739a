"""JSON in its one canonical form: sorted keys, ASCII, no spaces; so that equal contents are equal bytes."""

import json


def dumps(value: object) -> bytes:
    """Write the canonical bytes of what JSON can say."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def loads(data: bytes, *, limit_bytes: int) -> object:
    """Read canonical bytes from outside.

    ValueError says why they are refused: too many, no JSON, nested too deeply, numbers too long, or the same
    content written in another way (which is also how a repeated key shows).
    """
    if len(data) > limit_bytes:
        raise ValueError(f"{len(data)} bytes, at most {limit_bytes} are read")
    try:
        value: object = json.loads(data)
        canonical = dumps(value)
    except (ValueError, RecursionError) as error:
        raise ValueError("no JSON, or nested too deeply, or a number too long") from error
    if canonical != data:
        raise ValueError("not written canonically: sorted keys, each once, ASCII, no spaces")
    return value

"""A QR code on a terminal."""

from typing import TextIO


def draw(text: str, stream: TextIO) -> None:
    """Draw it; half blocks where the terminal can, else coloured spaces."""
    import segno  # noqa: PLC0415  only here, only for people

    code = segno.make(text, error="l", micro=False)
    code.terminal(stream, border=2, compact="utf" in (stream.encoding or "").lower())

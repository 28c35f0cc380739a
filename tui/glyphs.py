"""The few characters beyond ASCII that the interface draws, and what stands for them where they cannot be shown."""

from collections.abc import Mapping
from dataclasses import dataclass

from textual.content import Content

# The Linux console has a font of 256 or 512 characters, without the halves and eighths that borders are made of.
_PLAIN_TERMINALS = ("linux", "vt100", "vt220", "dumb")


@dataclass(frozen=True, kw_only=True)
class Glyphs:
    """One set; `plain` says that borders, too, are to be ASCII."""

    plain: bool
    linked: str
    absent: str
    dash: str
    ellipsis: str
    full: str
    empty: str

    def clip(self, text: str, room: int) -> str:
        """Cut `text` to at most `room` cells; what was cut ends with an ellipsis."""
        content = Content(text)
        if content.cell_length <= room:
            return text
        return content.truncate(room - len(self.ellipsis), ellipsis=False).plain.rstrip() + self.ellipsis


RICH = Glyphs(plain=False, linked="●", absent="○", dash="—", ellipsis="…", full="━", empty="─")
PLAIN = Glyphs(plain=True, linked="*", absent="-", dash="--", ellipsis="...", full="#", empty=".")


def choose_glyphs(env: Mapping[str, str]) -> Glyphs:
    """PLAIN on a plain terminal or under a locale that names another character set than UTF-8.

    No locale at all says nothing: terminals of today are UTF-8.  Python itself sets LC_CTYPE=C.UTF-8 under the C
    locale (PEP 538), so only what stands in LC_ALL or LANG is the person's.
    """
    locale = env.get("LC_ALL") or env.get("LANG") or "UTF-8"
    utf8 = "utf8" in locale.lower().replace("-", "")
    return RICH if utf8 and env.get("TERM") not in _PLAIN_TERMINALS else PLAIN

"""GET /: the page on which a guest asks from a phone; one answer, for a slow network pays for each round trip.

The files of static/ are put together once, when the node starts: the style and the scripts stand inside the document,
and the Content-Security-Policy names exactly them by their hashes.  No other script, style, font or picture can run
or load, whatever a model says.
"""

import base64
import gzip
import hashlib
import html
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

STATIC: Final = files("device.http") / "static"
STYLE: Final = "page.css"
SCRIPTS: Final = ("events.js", "markdown.js", "words.js", "talk.js", "page.js")  # each uses those before it
NAME_PLACE: Final = "{{name}}"
STYLE_PLACE: Final = "{{style}}"
SCRIPTS_PLACE: Final = "{{scripts}}"


def page_routes(node_name: str) -> list[Route]:
    """The guest page of the node with that name."""
    page = GuestPage(node_name)

    async def guest_page(request: Request) -> Response:
        return page.answer(request)

    return [Route("/", guest_page, methods=["GET"])]


class GuestPage:
    """The document, ready to be sent; the same bytes as long as the node lives."""

    def __init__(self, node_name: str) -> None:
        style, scripts = _text(STYLE), [_text(name) for name in SCRIPTS]
        document = _text("index.html").replace(STYLE_PLACE, f"<style>{style}</style>")
        document = document.replace(SCRIPTS_PLACE, "\n".join(f"<script>{script}</script>" for script in scripts))
        # Last, so that a name is never taken for a place.
        self.document = document.replace(NAME_PLACE, html.escape(node_name)).encode()
        self._compressed = gzip.compress(self.document, mtime=0)
        self.headers: Mapping[str, str] = {
            "Content-Security-Policy": _policy([style], scripts),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",  # for browsers that know no frame-ancestors
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-cache",  # kept, but asked for again: a node that was updated shows its new page
            "ETag": f'"{hashlib.sha256(self.document).hexdigest()[:32]}"',
            "Vary": "Accept-Encoding",
        }

    def answer(self, request: Request) -> Response:
        """Send the document, or say that the client's copy is still the same."""
        known = request.headers.get("if-none-match", "")
        if self.headers["ETag"] in (tag.strip().removeprefix("W/") for tag in known.split(",")):
            return Response(status_code=304, headers=self.headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers = {**self.headers, "Content-Encoding": "gzip"}
            return Response(self._compressed, headers=headers, media_type="text/html")
        return Response(self.document, headers=self.headers, media_type="text/html")


def _text(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _policy(styles: list[str], scripts: list[str]) -> str:
    """Forbid everything but these very texts and requests to where the page came from."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hashes(scripts)}",
            f"style-src {_hashes(styles)}",
            "connect-src 'self'",
            "img-src data:",  # the icon, which stands in the document
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",  # no text becomes markup, not even by a mistake of ours
            "trusted-types 'none'",
        )
    )


def _hashes(texts: list[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)

"""GET /openapi.json: the document of the API; GET /docs: the same as a page, without scripts or outside assets."""

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from device.http.openapi import openapi_document

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 52rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h3 { margin-bottom: 0; } code, pre { font: 0.875rem/1.4 ui-monospace, monospace; }
pre { overflow: auto; padding: 0.75rem; border: 1px solid #8886; border-radius: 6px; }
th { white-space: nowrap; } td, th { text-align: left; vertical-align: top; padding: 0.25rem 1rem 0.25rem 0; }
summary { cursor: pointer; } .method { text-transform: uppercase; opacity: 0.7; }
"""


def document_routes(version: str) -> list[Route]:
    """What people and tools read before they ask."""

    async def openapi(_: Request) -> Response:
        return JSONResponse(openapi_document(version))

    async def docs(_: Request) -> Response:
        return HTMLResponse("".join(page(openapi_document(version))), headers=HEADERS)

    return [Route("/openapi.json", openapi, methods=["GET"]), Route("/docs", docs, methods=["GET"])]


def page(document: Mapping[str, Any]) -> Iterator[str]:
    """Write the document as HTML."""
    info = document["info"]
    title = f"{_escaped(info['title'])} {_escaped(info['version'])}"
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    yield f"<main><h1>{title}</h1><p>{_escaped(info['description'])}</p>"
    yield '<p>For tools: <a href="/openapi.json">openapi.json</a>.</p>'
    for tag in document["tags"]:
        yield f"<h2>{_escaped(tag['name'])}</h2>"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(document, method, path, operation)
    yield "</main></html>"


def _operation(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f'<section><h3><span class="method">{_escaped(method)}</span> <code>{_escaped(path)}</code></h3>'
    yield f"<p>{_escaped(operation['summary'])}</p>"
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        schema = _resolved(document, content["schema"])
        yield "<details><summary>Fields</summary><table><tr><th>field<th>kind<th>meaning"
        for name, field in schema["properties"].items():
            needed = " (required)" if name in schema["required"] else ""
            about = _resolved(document, field).get("description", "")
            yield f"<tr><td><code>{_escaped(name)}</code>{needed}<td>{_escaped(_kind(document, field))}"
            yield f"<td>{_escaped(about)}"
        yield "</table></details>"
        for name, example in content["examples"].items():
            shown = json.dumps(example["value"], indent=2, ensure_ascii=False)
            yield f"<details><summary>Example: {_escaped(name)}</summary><pre>{_escaped(shown)}</pre></details>"
    yield "<table>"
    for status, answer in operation["responses"].items():
        yield f"<tr><th>{_escaped('else' if status == 'default' else status)}<td>{_escaped(answer['description'])}"
    yield "</table></section>"


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    found: Mapping[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _kind(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a field may be, in a few words; null counts as absent and is not told."""
    schema = _resolved(document, schema)
    if "anyOf" in schema:
        kinds = [_kind(document, one) for one in schema["anyOf"]]
        return " or ".join(dict.fromkeys(kind for kind in kinds if kind != "null"))
    if "enum" in schema:
        return ", ".join(json.dumps(value) for value in schema["enum"] if value is not None)
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    bounds = f" {schema['minimum']:g} to {schema['maximum']:g}" if {"minimum", "maximum"} <= schema.keys() else ""
    return " or ".join(kind for kind in kinds if kind != "null" or len(kinds) == 1) + bounds


def _escaped(text: object) -> str:
    return html.escape(str(text))

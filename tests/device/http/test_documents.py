"""The OpenAPI document: it says what the routes and parsers do, no more and no less; and its page."""

import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from jsonschema_rs import validator_for
from starlette.routing import Route

from device.core.chat_request import parse_chat_request
from device.core.completion_request import parse_completion_request
from device.core.ollama_request import parse_ollama_chat, parse_ollama_generate, parse_ollama_show
from device.http.app import public_routes
from device.http.errors import OLLAMA_PATHS
from device.http.openapi import OPERATIONS, openapi_document
from device.node import HearthNode

PARSERS: dict[str, Callable[[bytes], object]] = {
    "/v1/chat/completions": parse_chat_request,
    "/v1/completions": parse_completion_request,
    "/api/chat": parse_ollama_chat,
    "/api/generate": parse_ollama_generate,
    "/api/show": parse_ollama_show,
}
EXAMPLES = [
    pytest.param(operation.path, operation.body, example, id=f"{operation.path} {name}")
    for operation in OPERATIONS
    for name, example in operation.examples.items()
]
DOCUMENT = openapi_document("1")


def served(routes: list[Route]) -> Iterator[tuple[str, str]]:
    """Method and path of each route, as a document writes them."""
    for route in routes:
        for method in (route.methods or set()) - {"HEAD"}:
            yield method.lower(), route.path.replace(":path}", "}")


@pytest.mark.asyncio(loop_scope="module")
async def test_the_document_names_every_route_and_no_other(node: HearthNode) -> None:
    """In both directions."""
    administration = node.administration
    documented = {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert set(served(public_routes(administration.queries, administration))) == documented


@pytest.mark.parametrize(("path", "schema", "example"), EXAMPLES)
def test_each_example_is_taken(path: str, schema: str, example: dict[str, Any]) -> None:
    """By the parser, and by the schema beside it."""
    PARSERS[path](json.dumps(example).encode())
    validator = validator_for({"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]})
    assert list(validator.iter_errors(example)) == []


def test_each_way_to_ask_has_a_parser_and_an_example() -> None:
    """Nothing that takes a body is left out above."""
    assert {operation.path for operation in OPERATIONS if operation.body} == set(PARSERS)
    assert all(operation.examples for operation in OPERATIONS if operation.body)


def test_every_reference_leads_somewhere() -> None:
    """And every schema is used."""
    text = json.dumps(DOCUMENT)
    schemas = DOCUMENT["components"]["schemas"]
    referred = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert referred == set(schemas)


def test_ollamas_paths_have_ollamas_errors() -> None:
    """All of them that are served."""
    assert {operation.path for operation in OPERATIONS if operation.tag == "Ollama"} <= OLLAMA_PATHS


@pytest.mark.asyncio(loop_scope="module")
async def test_it_is_served(public: httpx.AsyncClient, owner: httpx.AsyncClient, node: HearthNode) -> None:
    """On both sockets, with the version that runs."""
    for client in (public, owner):
        assert (await client.get("/openapi.json")).json() == openapi_document(node.administration.version)


class _Outside(HTMLParser):
    """What a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note scripts and whatever is fetched."""
        if tag in ("script", "link", "img", "iframe", "object", "embed"):
            self.found.append(tag)
        self.found += [name for name, _ in attrs if name.startswith("on") or name == "src"]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_page_needs_nothing_else(public: httpx.AsyncClient) -> None:
    """It names every path, loads nothing, runs nothing, and its policy would allow neither."""
    reply = await public.get("/docs")
    page = _Outside()
    page.feed(reply.text)
    assert page.found == []
    assert all(f"<code>{operation.path}</code>" in reply.text for operation in OPERATIONS)
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert reply.headers["content-type"] == "text/html; charset=utf-8"

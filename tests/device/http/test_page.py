"""The guest page as bytes: what it weighs, what it forbids, how it is kept; and the probes of phones, over HTTP."""

import base64
import gzip
import hashlib
import re

import httpx
import pytest

from device.core.captive import PROBES

pytestmark = pytest.mark.asyncio(loop_scope="module")
MAX_BYTES = 100_000


def policy_of(reply: httpx.Response) -> dict[str, list[str]]:
    """Directive -> sources."""
    directives = (part.split() for part in reply.headers["content-security-policy"].split(";"))
    return {name: sources for name, *sources in directives}


async def test_the_page_is_one_small_answer(public: httpx.AsyncClient) -> None:
    """Everything stands in the document: it names no other file, and weighs less than a picture."""
    reply = await public.get("/", headers={"Accept-Encoding": "identity"})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert len(reply.content) <= MAX_BYTES
    assert not re.search(r'(src|href)="(?!data:|#)', reply.text)
    assert not re.search(r"@import|url\(|importScripts|\binnerHTML\b|\beval\b|document\.write", reply.text)
    assert "<title>ember · Hearthmesh</title>" in reply.text


async def test_the_policy_names_these_very_scripts(public: httpx.AsyncClient) -> None:
    """Whatever else a document held, no browser would run it, load it, frame it or send it anywhere."""
    reply = await public.get("/")
    policy = policy_of(reply)
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        texts = re.findall(rf"<{tag}>(.*?)</{tag}>", reply.text, re.DOTALL)
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
        assert policy[directive] == [f"'sha256-{digest}'" for digest in digests]
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert policy["frame-ancestors"] == ["'none'"]
    assert policy["connect-src"] == ["'self'"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in reply.headers


async def test_a_copy_is_asked_for_again_and_not_sent_again(public: httpx.AsyncClient) -> None:
    """304 with the same policy while the page is the same; a copy of another page is replaced."""
    first = await public.get("/")
    assert first.headers["cache-control"] == "no-cache"
    same = await public.get("/", headers={"If-None-Match": f'"old", W/{first.headers["etag"]}'})
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert (await public.get("/", headers={"If-None-Match": '"old"'})).status_code == 200


async def test_it_comes_packed_for_who_can_unpack(public: httpx.AsyncClient) -> None:
    """A slow Wi-Fi carries a third of it."""
    plain = await public.get("/", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    async with public.stream("GET", "/", headers={"Accept-Encoding": "gzip, br"}) as packed:
        raw = b"".join([chunk async for chunk in packed.aiter_raw()])
    assert (packed.headers["content-encoding"], gzip.decompress(raw)) == ("gzip", plain.content)
    assert len(raw) < len(plain.content) / 2


async def test_the_own_page_may_ask(public: httpx.AsyncClient) -> None:
    """A browser says where a page came from: from here, it is let in; from another port or over another scheme, not."""
    here = str(public.base_url).rstrip("/")
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
    for origin, status in (
        (here, 200),
        (f"{here}0", 403),
        (here.replace("http", "https"), 403),
        ("http://localhost", 403),
    ):
        reply = await public.post("/v1/chat/completions", json=body, headers={"Origin": origin})
        assert (origin, reply.status_code) == (origin, status)


@pytest.mark.parametrize(("host", "path"), PROBES)
async def test_a_phones_probe_is_answered(public: httpx.AsyncClient, host: str, path: str) -> None:
    """Under the maker's own name, which nothing else is served under, and never from a cache."""
    answer = PROBES[host, path]
    reply = await public.get(path, headers={"Host": host})
    assert (reply.status_code, reply.content) == (answer.status, answer.body)
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers.get("content-type", "") == answer.content_type
    for elsewhere in ("/v1/models", "/health", f"{path}x"):
        assert (await public.get(elsewhere, headers={"Host": host})).status_code == 403


async def test_a_probes_path_under_our_own_name_is_nothing(public: httpx.AsyncClient) -> None:
    """Only the foreign names are answered so."""
    assert (await public.get("/generate_204")).status_code == 404

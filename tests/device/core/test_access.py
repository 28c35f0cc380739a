"""Keys, doors and names: what each lets in, and what it keeps out."""

import pytest

from device.core.access import (
    LOOPBACK,
    OWNER,
    Key,
    caller_with,
    check_cookie_use,
    check_host,
    check_origin,
    check_scope,
    digest_of,
    find_key,
    host_of_address,
    needed_scope,
    phone_at,
)
from device.core.admission import Standing
from device.errors import BadRequestError, ForbiddenError

KEY = Key(name="laptop", digest=digest_of("hk_" + "a" * 32), scopes=("ask", "embed"))
GUESTS = Key(name="guests", digest=digest_of("hk_" + "b" * 32), guest=True)
NAMES = frozenset({"kitchen.local", "192.168.1.7", "[fd00::7]"})


def test_a_key_is_known_by_its_hash_alone() -> None:
    """Equal keys have equal hashes, others others; the hash is not the key."""
    assert digest_of("hk_" + "a" * 32) == KEY.digest != GUESTS.digest
    assert "hk_" not in KEY.digest
    assert len(digest_of("\ud800")) == 64


@pytest.mark.parametrize(
    ("name", "scopes", "guest"),
    [
        ("", ("ask",), False),
        ("a\n", ("ask",), False),
        ("a" * 64, ("ask",), False),
        ("a", (), False),
        ("a", ("root",), False),
        ("a", ("ask", "admin"), True),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(name: str, scopes: tuple[str, ...], guest: bool) -> None:  # noqa: FBT001  a parameter
    """A name one can read, scopes there are, and guests that only ask."""
    with pytest.raises(BadRequestError):
        Key(name=name, digest="00", scopes=scopes, guest=guest)


def test_keys_are_found_by_name_or_id() -> None:
    """Two may have one name; then both are listed."""
    assert find_key("laptop", [KEY, GUESTS]) == find_key(KEY.id, [KEY, GUESTS]) == [KEY]
    assert find_key("nobody", [KEY, GUESTS]) == []


def test_callers_are_told_apart() -> None:
    """Each phone is a client of its own, though they have one key; a key of the owner's is none of the others."""
    one, two = caller_with(GUESTS, session="s1"), caller_with(GUESTS, session="s2")
    assert one.client != two.client
    assert one.client.standing is Standing.GUEST
    assert one.key == two.key == GUESTS.digest
    assert caller_with(KEY).client.standing is Standing.OWN
    assert len({phone_at(source, key) for source in ("10.0.0.1", "10.0.0.2") for key in (KEY, GUESTS)}) == 4


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/", None),
        ("/static/page.js", None),
        ("/health", None),
        ("/guest/session", None),
        ("/v1/chat/completions", "ask"),
        ("/v1/models", "ask"),
        ("/api/chat", "ask"),
        ("/anything/new", "ask"),
        ("/static", "ask"),
        ("/v1/embeddings", "embed"),
        ("/metrics", "admin"),
    ],
)
def test_what_a_path_needs(path: str, scope: str | None) -> None:
    """What is not known to be open needs a key."""
    assert needed_scope(path) == scope


def test_a_key_does_what_it_is_for() -> None:
    """And nothing else; the error says what it is for."""
    check_scope(OWNER, "/metrics")
    check_scope(LOOPBACK, "/v1/embeddings")
    check_scope(caller_with(GUESTS), "/v1/chat/completions")
    with pytest.raises(ForbiddenError, match="for ask, not for embed"):
        check_scope(caller_with(GUESTS), "/v1/embeddings")


@pytest.mark.parametrize(
    "host", ["kitchen.local", "KITCHEN.local:4327", "192.168.1.7:4327", "[fd00::7]:4327", "[fd00::7]"]
)
def test_own_names_are_let_in(host: str) -> None:
    """With or without a port, in any case."""
    check_host(host, NAMES)


@pytest.mark.parametrize("host", ["", "evil.example", "kitchen.local.evil.example", "192.168.1.8", "kitchen.local:x"])
def test_foreign_names_are_not(host: str) -> None:
    """A name that somebody else has made point here is not ours, and whoever made it learns none of ours."""
    with pytest.raises(ForbiddenError, match="another machine") as raised:
        check_host(host, NAMES)
    assert not [name for name in NAMES if name in f"{raised.value} {raised.value.hint}"]


@pytest.mark.parametrize("origin", [None, "http://kitchen.local:4327", "HTTP://Kitchen.local:4327"])
def test_the_own_page_and_programs_may_ask(origin: str | None) -> None:
    """The same host and port, or no page at all."""
    check_origin(origin, "http://kitchen.local:4327")


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://kitchen.local:4327",
        "http://evil.example",
        "http://kitchen.local",
        "http://kitchen.local:43270",
    ],
)
def test_other_pages_may_not(origin: str) -> None:
    """Another host, another port, or one that hides."""
    with pytest.raises(ForbiddenError, match="another web page"):
        check_origin(origin, "http://kitchen.local:4327")


def test_a_cookie_alone_changes_nothing() -> None:
    """A browser sends it along whoever asks: what acts must say where it comes from."""
    check_cookie_use("GET", origin=None, marked=False)
    check_cookie_use("POST", origin="http://kitchen.local", marked=False)
    check_cookie_use("POST", origin=None, marked=True)
    with pytest.raises(ForbiddenError, match="which page"):
        check_cookie_use("POST", origin=None, marked=False)


def test_addresses_in_urls() -> None:
    """IPv6 stands in brackets."""
    assert (host_of_address("192.168.1.7"), host_of_address("fd00::7")) == ("192.168.1.7", "[fd00::7]")

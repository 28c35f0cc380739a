"""What the probes of phones hear, and that nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.captive import PROBES, answer_to_probe


@pytest.mark.parametrize(
    ("host", "path", "status", "body"),
    [
        ("connectivitycheck.gstatic.com", "/generate_204", 204, b""),
        ("www.google.com", "/gen_204", 204, b""),
        ("captive.apple.com", "/hotspot-detect.html", 200, b"<BODY>Success</BODY>"),
        ("www.apple.com", "/library/test/success.html", 200, b"<TITLE>Success</TITLE>"),
        ("www.msftconnecttest.com", "/connecttest.txt", 200, b"Microsoft Connect Test"),
        ("www.msftncsi.com", "/ncsi.txt", 200, b"Microsoft NCSI"),
        ("detectportal.firefox.com", "/success.txt", 200, b"success\n"),
        ("detectportal.firefox.com", "/canonical.html", 200, b"support.mozilla.org/kb/captive-portal"),
        ("nmcheck.gnome.org", "/check_network_status.txt", 200, b"NetworkManager is online"),
        ("spectrum.s3.amazonaws.com", "/kindle-wifi/wifistub.html", 200, b"81ce4465-7167-4dcb-835b-dcc9e44c112a"),
    ],
)
def test_each_maker_hears_what_its_own_server_would_say(host: str, path: str, status: int, body: bytes) -> None:
    """With or without the port, in any case; so the phone stays."""
    answer = answer_to_probe("GET", host, path)
    assert answer is not None
    assert (answer.status, body in answer.body) == (status, True)
    assert answer_to_probe("HEAD", f"{host.upper()}:80", path) == answer


def test_windows_compares_every_byte() -> None:
    """A newline at the end would already be another network."""
    for host, path in (("www.msftconnecttest.com", "/connecttest.txt"), ("www.msftncsi.com", "/ncsi.txt")):
        assert not PROBES[host, path].body.endswith(b"\n")


@pytest.mark.parametrize(
    ("method", "host", "path"),
    [
        ("POST", "captive.apple.com", "/hotspot-detect.html"),
        ("GET", "captive.apple.com", "/v1/models"),
        ("GET", "captive.apple.com:4327", "/hotspot-detect.html"),
        ("GET", "captive.apple.com.evil.example", "/hotspot-detect.html"),
        ("GET", "www.apple.com", "/generate_204"),
        ("GET", "www.google.com", "/"),
        ("GET", "127.0.0.1", "/generate_204"),
        ("GET", "", "/generate_204"),
    ],
)
def test_nothing_else_is_answered_under_a_foreign_name(method: str, host: str, path: str) -> None:
    """Another method, path, port or name is no probe."""
    assert answer_to_probe(method, host, path) is None


@given(st.text(), st.text())
def test_any_other_request_is_none(host: str, path: str) -> None:
    """Only what stands in the table is a probe."""
    if (host.lower().removesuffix(":80"), path) not in PROBES:
        assert answer_to_probe("GET", host, path) is None

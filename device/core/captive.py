"""What phones and computers ask of a new network, and what they hear where there is an internet behind it.

A phone that gets another answer leaves a Wi-Fi without internet, or shows a login page that is none.  Each maker asks
its own servers over plain HTTP; where the names lead to this node (an access point of its own answers them so), it
gives the answer that those servers would.  Nothing else is ever answered under a foreign name.
Sources: the systems' own settings (Android's NetworkMonitor, Windows' NlaSvc, Firefox' captivedetect.*,
NetworkManager's connectivity section), and captures of what Apple's and Amazon's devices ask.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

HTML: Final = "text/html; charset=utf-8"
PLAIN: Final = "text/plain; charset=utf-8"
HTTP_PORT: Final = ":80"


@dataclass(frozen=True)
class Answer:
    """What a probe expects: a status, and a body of that type unless it is empty."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()


_NOTHING: Final = Answer(204)
_APPLE: Final = Answer(200, b"<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>\n", HTML)
_FIREFOX: Final = Answer(
    200, b'<meta http-equiv="refresh" content="0;url=https://support.mozilla.org/kb/captive-portal"/>', HTML
)
_NETWORK_MANAGER: Final = Answer(200, b"NetworkManager is online\n", PLAIN, (("X-NetworkManager-Status", "online"),))
_KINDLE: Final = Answer(200, b"<html><body>81ce4465-7167-4dcb-835b-dcc9e44c112a</body></html>\n", HTML)

PROBES: Final[Mapping[tuple[str, str], Answer]] = {
    # Android and Chrome, and what makers put in their place
    ("connectivitycheck.gstatic.com", "/generate_204"): _NOTHING,
    ("connectivitycheck.android.com", "/generate_204"): _NOTHING,
    ("clients1.google.com", "/generate_204"): _NOTHING,
    ("clients3.google.com", "/generate_204"): _NOTHING,
    ("www.gstatic.com", "/generate_204"): _NOTHING,
    ("play.googleapis.com", "/generate_204"): _NOTHING,
    ("www.google.com", "/generate_204"): _NOTHING,
    ("www.google.com", "/gen_204"): _NOTHING,
    ("connectivity.samsung.com.cn", "/generate_204"): _NOTHING,
    ("connect.rom.miui.com", "/generate_204"): _NOTHING,
    ("connectivitycheck.platform.hicloud.com", "/generate_204"): _NOTHING,
    ("wifi.vivo.com.cn", "/generate_204"): _NOTHING,
    # iPhone, iPad, Mac
    ("captive.apple.com", "/"): _APPLE,
    ("captive.apple.com", "/hotspot-detect.html"): _APPLE,
    ("www.apple.com", "/library/test/success.html"): _APPLE,
    # Windows 10 and 11, then those before; no newline at the end
    ("www.msftconnecttest.com", "/connecttest.txt"): Answer(200, b"Microsoft Connect Test", PLAIN),
    ("ipv6.msftconnecttest.com", "/connecttest.txt"): Answer(200, b"Microsoft Connect Test", PLAIN),
    ("www.msftncsi.com", "/ncsi.txt"): Answer(200, b"Microsoft NCSI", PLAIN),
    ("ipv6.msftncsi.com", "/ncsi.txt"): Answer(200, b"Microsoft NCSI", PLAIN),
    # Edge
    ("edge-http.microsoft.com", "/captiveportal/generate_204"): _NOTHING,
    # Firefox
    ("detectportal.firefox.com", "/canonical.html"): _FIREFOX,
    ("detectportal.firefox.com", "/success.txt"): Answer(200, b"success\n", PLAIN),
    # NetworkManager: GNOME's server, Debian's, Fedora's, Arch's
    ("nmcheck.gnome.org", "/check_network_status.txt"): _NETWORK_MANAGER,
    ("network-test.debian.org", "/nm"): _NETWORK_MANAGER,
    ("fedoraproject.org", "/static/hotspot.txt"): Answer(200, b"OK", PLAIN),
    ("ping.archlinux.org", "/nm-check.txt"): _NETWORK_MANAGER,
    # Kindle
    ("spectrum.s3.amazonaws.com", "/kindle-wifi/wifistub.html"): _KINDLE,
}


def answer_to_probe(method: str, host: str, path: str) -> Answer | None:
    """What to say to a request that is a known probe, word for word; None to every other."""
    if method not in ("GET", "HEAD"):
        return None
    return PROBES.get((host.lower().removesuffix(HTTP_PORT), path))

"""What is kept for the next time, and when it is not good any more."""

from pathlib import Path

import pytest

from tests.arm import userland
from tests.arm.userland import UserlandError, cache_folder, packages_in, prepare

URIS = """\
'http://deb.debian.org/debian/pool/main/z/zlib/zlib1g_1.3_arm64.deb' zlib1g_1%3a1.3_arm64.deb 85028 SHA256:0123
'http://deb.debian.org/debian/pool/main/g/glibc/libc6_2.41-12_arm64.deb' libc6_2.41-12_arm64.deb 2488872 SHA256:4567
"""


def test_the_packages_are_known_by_name_version_and_digest() -> None:
    """Their order is apt's business."""
    assert packages_in(URIS) == ["libc6_2.41-12_arm64.deb SHA256:4567", "zlib1g_1%3a1.3_arm64.deb SHA256:0123"]


def test_the_cache_is_the_users() -> None:
    """XDG's variable wins, an empty one does not count."""
    assert cache_folder({"XDG_CACHE_HOME": "/var/c"}) == Path("/var/c/hearth-tests/arm")
    assert cache_folder({"XDG_CACHE_HOME": ""}) == Path.home() / ".cache/hearth-tests/arm"


def test_what_is_missing_is_named_with_the_command_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's key is not everywhere; nothing is left behind."""
    monkeypatch.setattr(userland, "ARCHIVE_KEY", tmp_path / "key.gpg")
    with pytest.raises(UserlandError, match="sudo apt install debian-archive-keyring"):
        prepare(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []

"""Guessing keys is slow, and slow for the guesser alone."""

import pytest

from device.core.tries import MAX_SOURCES, WRONG_PER_MINUTE, Tries, network_of
from device.errors import TooManyRequestsError


def guess(tries: Tries, source: str, *, now: float) -> None:
    """Show a wrong key."""
    tries.check(source, now=now)
    tries.failed(source, now=now)


def test_after_ten_wrong_keys_there_is_a_pause() -> None:
    """Then one more every six seconds; another source is not held up."""
    tries = Tries()
    for _ in range(WRONG_PER_MINUTE):
        guess(tries, "192.168.1.66", now=0.0)
    with pytest.raises(TooManyRequestsError, match="wait 6 s") as raised:
        guess(tries, "192.168.1.66", now=0.0)
    assert raised.value.retry_after_s == 6
    tries.check("192.168.1.7", now=0.0)
    guess(tries, "192.168.1.66", now=6.0)
    with pytest.raises(TooManyRequestsError):
        guess(tries, "192.168.1.66", now=6.0)


def test_a_machine_with_many_addresses_is_one() -> None:
    """It has 2^64 of IPv6, and they count together."""
    tries = Tries()
    for number in range(WRONG_PER_MINUTE):
        guess(tries, f"fd00::{number:x}", now=0.0)
    with pytest.raises(TooManyRequestsError):
        tries.check("fd00::ffff%wlan0", now=0.0)
    tries.check("fd00:1::1", now=0.0)
    assert network_of("192.168.1.7") == "192.168.1.7"


def test_sources_are_bounded() -> None:
    """The one that has been quiet for longest is forgotten."""
    tries = Tries()
    for number in range(MAX_SOURCES + 5):
        guess(tries, f"10.0.{number // 256}.{number % 256}", now=float(number))
    assert len(tries._sources) == MAX_SOURCES
    assert "10.0.0.0" not in tries._sources

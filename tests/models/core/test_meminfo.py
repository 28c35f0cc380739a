"""The kernel's own estimate is read, and nothing else."""

from models.core.meminfo import available_bytes

PI = "MemTotal:         435060 kB\nMemFree:           81716 kB\nMemAvailable:     231504 kB\n"


def test_what_is_available_is_read_in_bytes() -> None:
    """A kB of the kernel is 1024 bytes."""
    assert available_bytes(PI) == 231504 * 1024


def test_a_kernel_that_does_not_say_is_none() -> None:
    """Nothing is guessed."""
    assert available_bytes("") is None
    assert available_bytes(PI.replace("MemAvailable", "MemOther")) is None

"""Whether a model fits is said before its first byte, as an estimate."""

from dataclasses import replace

from device.core.fitting import Need, Room, shortfalls

GB = 1_000_000_000
ROOMY = Room(store_bytes=100 * GB, cache_bytes=100 * GB, shared=True, memory_bytes=16 * GB)


def test_the_default_model_is_not_underestimated() -> None:
    """Measured: 98 MB of Q4_1 take 223 MB converted, and 225 MB of memory with a short context."""
    need = Need.of(98_362_432)
    assert 223_000_000 < need.converted_bytes < 300_000_000
    assert need.disk_bytes == need.source_bytes + need.converted_bytes
    assert 200_000_000 < need.memory_bytes < 300_000_000


def test_what_fits_is_no_matter() -> None:
    """Nor where nobody says how much memory there is."""
    assert shortfalls(Need.of(GB), ROOMY) == ()
    assert shortfalls(Need.of(GB), replace(ROOMY, memory_bytes=0)) == ()


def test_each_shortfall_is_named() -> None:
    """On one disk the sum counts, on two each has its own; and the memory."""
    need = Need.of(GB)
    assert shortfalls(need, replace(ROOMY, store_bytes=3 * GB)) == (
        "needs about 4.0 GB of disk with its converted forms, 3.0 GB free",
    )
    apart = replace(ROOMY, shared=False)
    assert shortfalls(need, replace(apart, store_bytes=2 * GB, cache_bytes=3 * GB)) == ()
    assert shortfalls(need, replace(apart, store_bytes=GB // 2)) == ("needs 1.0 GB of disk for itself, 500 MB free",)
    assert shortfalls(need, replace(apart, cache_bytes=GB)) == (
        "needs about 3.0 GB of disk for its converted forms, 1.0 GB free",
    )
    assert shortfalls(need, replace(ROOMY, memory_bytes=GB)) == ("needs about 1.3 GB of memory, 1.0 GB free",)

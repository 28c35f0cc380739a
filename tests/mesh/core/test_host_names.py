"""What a node is called on the local network."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.host_names import TRIES, host_label, host_labels


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("ember", "ember"),
        ("Küche (unten)", "kuche-unten"),
        ("Anna's Raspberry Pi 5", "anna-s-raspberry-pi-5"),
        ("-- x --", "x"),
        ("厨房", "hearth"),
        ("🔥", "hearth"),
        ("a" * 63, "a" * 40),
    ],
)
def test_a_name_becomes_a_label(name: str, label: str) -> None:
    """What a phone can type; where nothing of that is left, the product's own name."""
    assert host_label(name) == label


@given(st.text())
def test_any_name_gives_labels_that_are_sound_and_differ(name: str) -> None:
    """RFC 1123: letters, digits, hyphens within, 63 at most; a bounded number of them."""
    labels = list(host_labels(name))
    assert len(set(labels)) == len(labels) == TRIES
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", label) and len(label) <= 63 for label in labels)

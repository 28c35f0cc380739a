"""From JSON to frozen values: what fits is taken, everything else is named."""

import dataclasses
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.api import AnswerFinished, Peers, Status
from device.api_of_models import Models
from device.parsing import MalformedReplyError, one_line, parse, prose
from tests.sim.scripts import STATUS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["name", "models", "node_id"]) | st.text(), inner),
)


def test_what_is_written_is_read() -> None:
    """A value written as JSON reads back to itself."""
    status = parse(Status, STATUS)
    assert parse(Status, json.loads(json.dumps(dataclasses.asdict(status)))) == status


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 7}, r"reply\.name is no str"),
        ({"uptime_s": "long"}, r"reply\.uptime_s is no float"),
        ({"uptime_s": True}, r"reply\.uptime_s is no float"),
        ({"uptime_s": float("nan")}, r"reply\.uptime_s is out of range"),
        ({"http": []}, r"reply\.http is no object"),
        ({"http": {"host": "x", "port": 1.5}}, r"reply\.http\.port is no int"),
        ({"models": {}}, r"reply\.models is no list"),
        ({"neighbours": [{"node_id": "a", "name": "b"}]}, r"reply\.neighbours\[0\]\.state is missing"),
        ({"models": [{"name": "a", "digest": "b", "size_bytes": 10**30}]}, r"size_bytes is out of range"),
        ({"models": [{"name": "a", "digest": "b", "size_bytes": 1, "loaded": 1}]}, r"loaded is no bool"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, object], said: str) -> None:
    """The error says where, and what was expected there."""
    with pytest.raises(MalformedReplyError, match=said):
        parse(Status, STATUS | change)


def test_a_newer_daemon_is_understood() -> None:
    """Unknown fields are left alone, absent ones with a default are filled in, null is None."""
    status = parse(Status, {**STATUS, "mood": "fine", "community": None})
    assert status.community is None
    assert parse(Models, {}) == Models()


@given(JSON)
def test_no_reply_brings_the_client_down(value: object) -> None:
    """Any JSON is either taken or refused by name."""
    for kind in (Status, Peers, Models, AnswerFinished):
        try:
            parsed = parse(kind, value)
        except MalformedReplyError:
            continue
        assert type(parsed) is kind


@given(st.text(st.characters()))
def test_text_cannot_steer_a_terminal(text: str) -> None:
    """No control character is left, and nothing else is lost; prose keeps its lines."""
    assert not [c for c in one_line(text) if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert not [c for c in prose(text) if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t"]
    assert [c for c in prose(text) if c.isprintable()] == [c for c in text if c.isprintable()]

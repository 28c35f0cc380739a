"""The topic policy as a table: the laws behind mosquitto's access list and amqtt's filter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.topic_policy import INBOX, Action, CommonName, Role, clients, covers, inbox_topic

ALICE = "a" * 52
BOB = "b" * 52
NODE_IDS = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=52, max_size=52)
TOPICS = st.lists(st.text("ab+#$", max_size=3), min_size=1, max_size=4).map("/".join)


@given(NODE_IDS, st.sampled_from(Role))
def test_a_common_name_is_read_as_it_is_written(node_id: str, role: Role) -> None:
    """Writing and reading are inverse, and the name fits a certificate."""
    name = CommonName(node_id, role)
    assert name == CommonName.parse(str(name))
    assert len(str(name)) <= 64


@pytest.mark.parametrize(
    "text",
    ["", "x", ALICE, f"{ALICE}.", f"{ALICE}.root", f"{ALICE}.ctl.bulk", f"{ALICE.upper()}.ctl", f"{ALICE}\n.ctl"],
)
def test_other_names_are_nobodys(text: str) -> None:
    """A name that is not exactly a node id and a role has no rights at all."""
    assert CommonName.parse(text) is None


@given(TOPICS)
def test_a_neighbour_reads_nothing_and_writes_only_under_its_own_name(rest: str) -> None:
    """Its own inbox topics, and no others."""
    alice = CommonName(ALICE, Role.CTL)
    assert alice.may(Action.WRITE, f"in/{alice}/{rest}")
    assert not alice.may(Action.READ, f"in/{alice}/{rest}")
    for foreign in (rest, f"in/{rest}", f"in/{ALICE}.bulk/{rest}", f"in/{BOB}.ctl/{rest}", f"in/{alice}x/{rest}"):
        assert not alice.may(Action.WRITE, foreign)


@given(TOPICS)
def test_the_owner_reads_the_inbox_and_writes_nothing(rest: str) -> None:
    """Reading is all an owner's connection is for."""
    owner = CommonName(ALICE, Role.OWNER)
    assert owner.may(Action.READ, INBOX)
    assert owner.may(Action.READ, f"in/{rest}")
    assert not owner.may(Action.READ, f"out/{rest}")
    assert not owner.may(Action.READ, "#")
    assert not owner.may(Action.WRITE, f"in/{rest}")


def test_frames_go_to_a_topic_their_sender_may_write() -> None:
    """The topic the links use is inside the policy."""
    alice = CommonName(ALICE, Role.BULK)
    assert inbox_topic(alice) == f"in/{ALICE}.bulk/f"
    assert alice.may(Action.WRITE, inbox_topic(alice))


def test_a_filter_without_wildcard_covers_itself_alone() -> None:
    """Nothing is below it."""
    assert covers("a/b", "a/b")
    assert not covers("a/b", "a/b/c")


def test_the_owner_and_two_lanes_a_neighbour_may_connect() -> None:
    """The order is fixed, so that the same members give the same files."""
    expected = [f"{ALICE}.owner", f"{BOB}.ctl", f"{BOB}.bulk", f"{'c' * 52}.ctl", f"{'c' * 52}.bulk"]
    assert [str(name) for name in clients(ALICE, {"c" * 52, BOB})] == expected

"""What is found, and what is said to do, for each thing that keeps neighbours away."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.diagnosis import FAULT, NOTE, WARNING, diagnose, identity_warnings
from mesh.facts import Hearing, Knock, MeshFacts, Reach, StaticPeer
from mesh.interfaces import Interface

LO = Interface("lo", up=True, networks=("127.0.0.1/8",))
ETH = Interface("eth0", up=True, networks=("192.168.1.7/24",))
DOCKER = Interface("docker0", up=True, networks=("172.17.0.1/16",))
HEARD = Hearing(announced=True, own=True, others=True)
BEN = Reach(node_id="b" * 52, name="Ben")
STRANGER = "s" * 52

WELL = MeshFacts(
    node_id="a" * 52,
    wanted=("auto",),
    interfaces=(ETH, LO),
    hearing=HEARD,
    community="street",
    strangers=(),
    reached=1,
    away=(),
    blocked=(),
    static_peers=(StaticPeer(peer="192.168.1.9"),),
    broker="mosquitto",
    broker_port=8883,
    broker_error="",
    door_port=8884,
    door_error="",
)
ALONE = replace(WELL, reached=0, static_peers=())


def at(door: str, broker: str, **fields: bool | str) -> Reach:
    """Describe a member at one address, by what came of knocking at its two ports."""
    address = "192.168.1.9"
    doors = (Knock(address=address, port=8884, error=door),)
    return replace(BEN, doors=doors, brokers=(Knock(address=address, port=8883, error=broker),), **fields)  # type: ignore[arg-type]


def test_a_node_that_reaches_everyone_is_well() -> None:
    """No findings; how many are reached is told."""
    found = diagnose(WELL)
    assert (found.sound, found.members, found.reached, found.findings) == (True, 1, 1, ())


NO_ANSWER = "no answer"
REFUSED = "connection refused"
CASES: dict[str, tuple[MeshFacts, str, str, str]] = {
    "cloned card": (replace(WELL, duplicate=True), FAULT, "another board uses", "hearth rekey"),
    "moved": (
        replace(WELL, board_changed=("board", "SD card")),
        FAULT,
        "made on another board and SD card: moved or copied",
        "hearth rekey --moved",
    ),
    "own key used twice": (
        replace(WELL, equivocators=(("Anna", "a" * 52),)),
        FAULT,
        "this node's key has signed two entries .* who is a member stays one",
        "hearth rekey",
    ),
    "a member's key used twice": (
        replace(WELL, equivocators=(("Ben", "b" * 52),)),
        WARNING,
        "Ben's key has signed two entries",
        "on Ben: hearth rekey.* hearth peers forget bbbbbbbb at the founder's node, hearth peers block bbbbbbbb here",
    ),
    "forked": (replace(WELL, forked=True), FAULT, "nothing more is decided", "hearth community fork --without"),
    "two records": (
        replace(WELL, disputed=(("Ben", "b" * 52),)),
        FAULT,
        r"Ben \(bbbbbbbb\) signs another record of the last decision",
        "compare in person",
    ),
    "broker": (replace(WELL, broker_error=REFUSED), FAULT, "port 8883: connection refused", "amqtt"),
    "door": (replace(WELL, door_error=NO_ANSWER), FAULT, "port 8884: no answer", "restart"),
    "misspelt": (
        replace(WELL, wanted=("wlan7",)),
        FAULT,
        "names wlan7, which this machine does not have",
        "there are: eth0, lo",
    ),
    "loopback alone": (replace(WELL, interfaces=(LO,)), FAULT, "no network interface but loopback", "Wi-Fi"),
    "loopback chosen": (replace(WELL, wanted=("lo",)), NOTE, "only the loopback", "auto"),
    "docker alone": (replace(WELL, interfaces=(DOCKER, LO)), FAULT, r"containers .*\(docker0\)", "host's network"),
    "unplugged": (
        replace(WELL, interfaces=(replace(ETH, up=False), LO)),
        FAULT,
        r"no network is up \(eth0\)",
        "as soon as it is up",
    ),
    "no address": (replace(WELL, interfaces=(replace(ETH, networks=()), LO)), FAULT, "eth0 is up, but has no", "DHCP"),
    "mDNS fails": (
        replace(WELL, hearing=Hearing(failure="Address in use")),
        FAULT,
        "mDNS cannot be used: Address",
        "--at HOST",
    ),
    "multicast blocked": (
        replace(WELL, hearing=Hearing(announced=True)),
        FAULT,
        "not even this node",
        r"UDP 5353 .* peers .* --at HOST",
    ),
    "silence": (
        replace(ALONE, hearing=Hearing(announced=True, own=True), away=(BEN,)),
        WARNING,
        "no other machine is heard",
        r"peers .* --at HOST",
    ),
    "silence on loopback": (
        replace(ALONE, wanted=("lo",), hearing=Hearing(announced=True, own=True), away=(BEN,)),
        NOTE,
        "no other machine is heard",
        "--at HOST",
    ),
    "lone": (
        replace(ALONE, community=None),
        WARNING,
        "belongs to no community; no other hearth",
        "hearth pair .*hearth doctor there",
    ),
    "lone, not alone": (
        replace(ALONE, community=None, strangers=(STRANGER,)),
        WARNING,
        "in reach, not paired: ssssssss",
        "hearth join WORDS on the other$",
    ),
    "founder alone": (ALONE, WARNING, "this community has no other member", "hearth pair"),
    "strangers": (replace(WELL, strangers=(STRANGER,)), NOTE, "no members of “street”: ssssssss", "hearth join"),
    "never seen": (replace(WELL, away=(BEN,)), WARNING, "Ben has not been seen", "hearth doctor there"),
    "no link": (
        replace(WELL, away=(at("", "", trouble="Not authorized"),)),
        WARNING,
        "answers at 192.168.1.9, but there is no link: Not authorized",
        "block this node",
    ),
    "being linked": (replace(WELL, away=(at("", ""),)), WARNING, "no link: it is being made", "wait"),
    "gone": (
        replace(WELL, away=(at(NO_ANSWER, NO_ANSWER),)),
        WARNING,
        "last known at 192.168.1.9 port 8884 and 8883: no answer$",
        "on this network",
    ),
    "refused": (
        replace(WELL, away=(at(REFUSED, REFUSED, announced=True),)),
        FAULT,
        "in sight, but cannot be reached: 192.168.1.9 port 8884 and 8883: connection refused$",
        "on Ben: hearth status",
    ),
    "firewall": (
        replace(WELL, away=(at("", NO_ANSWER, announced=True),)),
        FAULT,
        "cannot be reached: 192.168.1.9 port 8883: no answer$",
        "let TCP 8883 through",
    ),
    "static peer": (
        replace(WELL, static_peers=(StaticPeer(peer="attic", error=NO_ANSWER),)),
        WARNING,
        "nobody opens at attic",
        "8884",
    ),
    "blocked": (replace(ALONE, blocked=(("Ben", "b" * 52),)), NOTE, "Ben is blocked", "unblock bbbbbbbb"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_thing_that_goes_wrong_is_named_with_its_remedy(case: str) -> None:
    """One line what, one line what to do; notes alone leave a node well."""
    facts, severity, what, remedy = CASES[case]
    found = diagnose(facts)
    [finding] = [one for one in found.findings if _has(what, one.what)]
    assert finding.severity == severity
    assert _has(remedy, finding.remedy)
    assert found.sound == all(one.severity == NOTE for one in found.findings)
    assert all("\n" not in one.what + one.remedy for one in found.findings)


def _has(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None


def test_nothing_is_said_of_multicast_before_it_can_be_known() -> None:
    """Right after the start, without a network, or while a clone holds the name: silence means nothing yet."""
    for facts in (
        replace(WELL, hearing=Hearing()),
        replace(WELL, hearing=Hearing(announced=True), interfaces=(LO,)),
        replace(WELL, hearing=Hearing(announced=True), duplicate=True),
    ):
        assert not [one for one in diagnose(facts).findings if "mDNS" in one.what]


def test_of_many_a_few_are_named() -> None:
    """A list stays on its line."""
    many = tuple(letter * 52 for letter in "bcdefg")
    [finding] = diagnose(replace(WELL, strangers=many)).findings
    assert finding.what.endswith("bbbbbbbb, cccccccc, dddddddd, eeeeeeee and 2 more")


def test_the_identity_is_judged_without_the_rest() -> None:
    """The status shows it too."""
    assert identity_warnings(duplicate=False, board_changed=()) == ()
    assert len(identity_warnings(duplicate=True, board_changed=("board", "SD card"))) == 2


NAMES = st.sampled_from(["lo", "eth0", "wlan0", "docker0", "veth1"])
INTERFACES = st.builds(Interface, NAMES, st.booleans(), st.sampled_from([(), ("10.0.0.1/8",)]))
KNOCKS = st.lists(st.builds(Knock, address=st.just("10.0.0.2"), port=st.just(1), error=st.sampled_from(["", REFUSED])))


@given(
    st.builds(
        MeshFacts,
        wanted=st.lists(NAMES | st.just("auto")).map(tuple),
        interfaces=st.lists(INTERFACES, unique_by=lambda one: one.name).map(tuple),
        reached=st.integers(0, 3),
        away=st.lists(st.builds(Reach, doors=KNOCKS.map(tuple), brokers=KNOCKS.map(tuple)), max_size=3).map(tuple),
    )
)
def test_there_is_an_answer_to_everything(facts: MeshFacts) -> None:
    """Whatever the facts are: and who is alone is never called well without a word."""
    found = diagnose(facts)
    assert found.members == facts.reached + len(facts.away)
    assert found.findings or facts.others
    assert not found.sound or not facts.away

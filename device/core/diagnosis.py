"""What is wrong with a node's reach, and what to do about it: facts in, findings out, the likeliest cause first."""

from collections.abc import Iterator, Sequence
from typing import Final

from device.api import Diagnosis, Finding
from device.wording import short_id
from mesh.facts import Knock, MeshFacts, Reach
from mesh.interfaces import AUTO, Interface, Kind, is_wanted, unknown

FAULT: Final = "fault"
WARNING: Final = "warning"
NOTE: Final = "note"
LISTED: Final = 4  # of many, so many are named


def diagnose(facts: MeshFacts) -> Diagnosis:
    """Find what is wrong; without faults and warnings, nothing is."""
    findings = [
        *_identity(facts),
        *_equivocators(facts),
        *_disputes(facts),
        *_own_ports(facts),
        *_interfaces(facts),
        *_multicast(facts),
        *_community(facts),
        *(finding for member in facts.away for finding in _member(member)),
        *_static_peers(facts),
        *_blocked(facts),
    ]
    return Diagnosis(
        sound=all(finding.severity == NOTE for finding in findings),
        members=facts.others,
        reached=facts.reached,
        findings=tuple(findings),
    )


def identity_warnings(*, duplicate: bool, board_changed: Sequence[str]) -> tuple[Finding, ...]:
    """Say what is wrong with who this node is, if anything."""
    findings = []
    if duplicate:
        findings.append(
            _fault(
                "another board uses this node's identity: a cloned SD card",
                "on one of the two boards: hearth rekey, then pair that one again",
            )
        )
    if board_changed:
        findings.append(
            _fault(
                f"this identity was made on another {' and '.join(board_changed)}: moved or copied? It signs nothing",
                "the other board is out of use: hearth rekey --moved; both are in use: hearth rekey",
            )
        )
    return tuple(findings)


def _identity(facts: MeshFacts) -> Iterator[Finding]:
    yield from identity_warnings(duplicate=facts.duplicate, board_changed=facts.board_changed)


def _own_ports(facts: MeshFacts) -> Iterator[Finding]:
    if facts.broker_error:
        yield _fault(
            f"the broker here ({facts.broker}) does not answer on port {facts.broker_port}: {facts.broker_error}",
            'its lines in the log say why; [mqtt] broker = "amqtt" uses the built-in one',
        )
    if facts.door_error:
        yield _fault(
            f"the door here does not answer on port {facts.door_port}: {facts.door_error}",
            "restart the daemon; a firewall must let TCP through on loopback",
        )


def _interfaces(facts: MeshFacts) -> Iterator[Finding]:
    missing = unknown(facts.interfaces, facts.wanted)
    if missing:
        there = _listed([one.name for one in facts.interfaces])
        yield _fault(
            f"[discovery] interfaces names {_listed(missing)}, which this machine does not have",
            f"there are: {there}; correct hearth.toml, or plug it in: it is used at once",
        )
    if not _used(facts):
        if not missing:
            yield _without_network(facts)
    elif _only_loopback(facts):
        yield _note(
            "only the loopback interface is used: nodes on other machines are not found",
            'if they should be: [discovery] interfaces = ["auto"] in hearth.toml',
        )


def _without_network(facts: MeshFacts) -> Finding:
    wanted = [one for one in facts.interfaces if is_wanted(one, facts.wanted)]
    virtual = [one.name for one in facts.interfaces if one.kind is Kind.VIRTUAL and one.addresses]
    if not wanted and virtual and AUTO in facts.wanted:
        return _fault(
            f"the only networks here are of containers or virtual machines ({_listed(virtual)})",
            "connect Wi-Fi or a cable; in a container, use the host's network",
        )
    if not wanted:
        return _fault(
            "this machine has no network interface but loopback",
            "connect Wi-Fi or a cable: it is used as soon as it is up",
        )
    up = [one.name for one in wanted if one.up]
    if not up:
        return _fault(
            f"no network is up ({_listed([one.name for one in wanted])})",
            "connect Wi-Fi or a cable: it is used as soon as it is up",
        )
    return _fault(
        f"{_listed(up)} is up, but has no address",
        "does the router give out addresses (DHCP)? ip address shows what there is",
    )


def _used(facts: MeshFacts) -> list[Interface]:
    return [one for one in facts.interfaces if is_wanted(one, facts.wanted) and one.up and one.addresses]


def _only_loopback(facts: MeshFacts) -> bool:
    return all(one.kind is Kind.LOOPBACK for one in _used(facts))


def _multicast(facts: MeshFacts) -> Iterator[Finding]:
    hearing = facts.hearing
    if hearing.failure:
        yield _fault(
            f"mDNS cannot be used: {hearing.failure}",
            "does another program keep UDP port 5353 to itself? Meanwhile: hearth join WORDS --at HOST",
        )
        return
    if not _used(facts) or not hearing.announced or facts.duplicate:
        return
    if not hearing.own:
        yield _fault(
            "nothing is heard over mDNS, not even this node itself: multicast is blocked on this machine",
            'let UDP 5353 through its firewall; or [discovery] peers = ["HOST"], hearth join WORDS --at HOST',
        )
    elif not (hearing.others or facts.strangers or facts.reached or any(one.announced for one in facts.away)):
        yield (_note if _only_loopback(facts) else _warning)(
            "no other machine is heard over mDNS: none is there, or the network keeps multicast from passing",
            'guest Wi-Fi often does; use another, or [discovery] peers = ["HOST"], hearth join WORDS --at HOST',
        )


def _community(facts: MeshFacts) -> Iterator[Finding]:
    ids = _listed([short_id(node_id) for node_id in facts.strangers])
    if facts.community is None or not (facts.others or facts.blocked):
        what = "this node belongs to no community" if facts.community is None else "this community has no other member"
        seen = f"; in reach, not paired: {ids}" if facts.strangers else "; no other hearth is in sight"
        yield _warning(
            what + seen,
            "pair: hearth pair on one, hearth join WORDS on the other"
            + ("" if facts.strangers else " (is it running? hearth doctor there)"),
        )
    elif facts.strangers:
        yield _note(
            f"in reach, but no members of “{facts.community}”: {ids}",
            "to let one in: hearth pair at the founder's node, hearth join WORDS there",
        )


def _equivocators(facts: MeshFacts) -> Iterator[Finding]:
    proof = "has signed two entries for one place of the ledger: it is used on two boards, or stolen"
    for name, node_id in facts.equivocators:
        if node_id == facts.node_id:
            yield _fault(
                f"this node's key {proof}; it lets nobody in any more, and who is a member stays one",
                "use one board only; for an identity of its own: hearth rekey, then pair it again",
            )
        else:
            yield _warning(
                f"{name}'s key {proof}",
                f"on {name}: hearth rekey, then pair it again; after that, or if it is stolen: hearth peers forget"
                f" {short_id(node_id)} at the founder's node, hearth peers block {short_id(node_id)} here",
            )


def _disputes(facts: MeshFacts) -> Iterator[Finding]:
    if facts.forked:
        yield _fault(
            "the community is forked: two decisions were signed for one place, which takes dishonest voters;"
            " nothing more is decided, links and answers go on",
            "talk to each other; then one of you begins it anew without them: hearth community fork --without NODE",
        )
    for name, node_id in facts.disputed:
        yield _fault(
            f"{name} ({short_id(node_id)}) signs another record of the last decision than this node holds: one of the"
            " two was shown a false history, or that board lies",
            "compare in person, at three boards or more: hearth community --json, “root”",
        )


def _member(member: Reach) -> Iterator[Finding]:
    knocks = [*member.doors, *member.brokers]
    where = _listed(list(dict.fromkeys(knock.address for knock in knocks)))
    failed = [knock for knock in knocks if knock.error]
    answered = any(not one.error for one in member.doors) and any(not one.error for one in member.brokers)
    if not knocks:
        yield _warning(
            f"{member.name} has not been seen since this node started, and no address of it is known",
            'is it on, and on this network? hearth doctor there; else [discovery] peers = ["ITS ADDRESS"] here',
        )
    elif answered:
        yield _warning(
            f"{member.name} answers at {where}, but there is no link: {member.trouble or 'it is being made'}",
            "wait a minute; if it stays so: does it block this node, or has it left? hearth doctor there",
        )
    elif not member.announced:
        yield _warning(
            f"{member.name} is not in sight; last known at {_errors(failed)}",
            "is it on, and on this network? If its address is another one now: [discovery] peers here",
        )
    else:
        refused = all(knock.error == "connection refused" for knock in failed)
        yield _fault(
            f"{member.name} is in sight, but cannot be reached: {_errors(failed)}",
            _refused(member) if refused else _dropped(failed),
        )


def _refused(member: Reach) -> str:
    return f"its daemon has stopped, or its firewall refuses: on {member.name}: hearth status, hearth doctor"


def _dropped(failed: Sequence[Knock]) -> str:
    ports = " and ".join(str(port) for port in dict.fromkeys(knock.port for knock in failed))
    return f"let TCP {ports} through its firewall; guest Wi-Fi may keep its devices apart: use another network"


def _errors(failed: Sequence[Knock]) -> str:
    ports: dict[tuple[str, str], list[str]] = {}
    for knock in failed:
        ports.setdefault((knock.address, knock.error), []).append(str(knock.port))
    return _listed([f"{address} port {' and '.join(them)}: {error}" for (address, error), them in ports.items()])


def _static_peers(facts: MeshFacts) -> Iterator[Finding]:
    for one in facts.static_peers:
        if one.error:
            yield _warning(
                f"nobody opens at {one.peer} ([discovery] peers): {one.error}",
                "is it on, is that its address, and its door's port (8884 if none is named)? Else take it out",
            )


def _blocked(facts: MeshFacts) -> Iterator[Finding]:
    for name, node_id in facts.blocked:
        yield _note(
            f"{name} is blocked on this node",
            f"to speak with it again: hearth peers unblock {short_id(node_id)}",
        )


def _fault(what: str, remedy: str) -> Finding:
    return Finding(severity=FAULT, what=what, remedy=remedy)


def _warning(what: str, remedy: str) -> Finding:
    return Finding(severity=WARNING, what=what, remedy=remedy)


def _note(what: str, remedy: str) -> Finding:
    return Finding(severity=NOTE, what=what, remedy=remedy)


def _listed(items: Sequence[str]) -> str:
    more = len(items) - LISTED
    return ", ".join(items[:LISTED]) + (f" and {more} more" if more > 0 else "")

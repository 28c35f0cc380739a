"""Vectors of the door: its messages, pairing by words and by QR, enrolment, each handshake with fixed randomness."""

from dataclasses import replace
from importlib import resources

from mesh.core import crypto
from mesh.core.door_messages import MAX_MESSAGE_BYTES, DoorReader, DoorType, Grant, Ports, framed, parse_message
from mesh.core.enrolment import Applicant, Owner, Place
from mesh.core.epochs import EpochKey
from mesh.core.joiner import Joiner
from mesh.core.noise import Handshake, Pattern
from mesh.core.offerer import Offerer
from mesh.core.pairing import NONCE_BYTES, Admission, Introduction, PairingKey, derive_key, prologue, qr_text
from tests.mesh.core.world import Person
from tests.vectors.family import Family, Json, case, fixed_random, flipped, invalid

ADA, BEN, CLEO = Person("ada"), Person("ben"), Person("cleo")
WORDS = "abandon ability able about above absent"
QR_SECRET = bytes(range(16))
WORDLIST = resources.files("mesh.core").joinpath("wordlist.txt").read_text().split()
GRANT = Grant(b"the authority of ada's broker", b"ben.ctl at ada's broker", b"ben.bulk at ada's broker")
BACK = Grant(b"the authority of ben's broker", b"ada.ctl at ben's broker", b"ada.bulk at ben's broker")
PORTS, BACK_PORTS = Ports(8883, 8884), Ports(18883, 18884)
KEY = EpochKey(0, 1, b"i" * 16, b"s" * 32)
ADA_TLS, BEN_TLS = b"ada's TLS key (DER)", b"ben's TLS key (DER)"


def door() -> Family:
    """How messages stand on the stream."""
    bodies = {
        DoorType.PROBE: b"\1" + b"n" * 16,
        DoorType.OFFER: ADA.raw_id + b"m" * 16 + b"p" * 16 + b"q" * 16,
        DoorType.CLOSED: b"",
        DoorType.PAIR: b"\0" + b"e" * 48,
        DoorType.HANDSHAKE: b"h" * 100,
        DoorType.SEALED: b"s" * 33,
        DoorType.ENROL: b"i" * 100,
    }
    wrong = [
        invalid("a length of 0", bytes(2)),
        invalid("a length of 4097", (MAX_MESSAGE_BYTES + 1).to_bytes(2, "big")),
        invalid("type 0", b"\0\1\0"),
        invalid("type 8", b"\0\1\10"),
        invalid("REFUSED without a reason", b"\0\1\x7f"),
        invalid("REFUSED for a reason that is none", b"\0\2\x7f\7"),
    ]
    return {
        "about": "Section 4: length(2) type(1) body",
        "cases": [case(kind.name, framed(kind, body), type=kind, body=body.hex()) for kind, body in bodies.items()],
        "invalid": wrong,
    }


def pairing_keys() -> Family:
    """From what the owner types or scans to the keys, and a proof under them."""
    nonce, nonce2 = b"1" * 16, b"2" * 16
    cases: list[Json] = []
    for name, text, stretched in (
        ("words", WORDS, crypto.stretch(WORDS)),
        ("words as people type them", WORDS.upper().replace(" ", "-"), crypto.stretch(WORDS)),
        ("QR", qr_text(QR_SECRET), crypto.expand(QR_SECRET)),
    ):
        key = derive_key(text, WORDLIST)
        about: Json = {"text": text, "K": stretched.hex(), "form": key.form, "psk": key.psk.hex()}
        about |= {"nonce": nonce.hex(), "nonce2": nonce2.hex(), "raw_id": ADA.raw_id.hex()}
        cases.append(case(name, key.proof(nonce, nonce2, ADA.raw_id), **about))
    texts = {
        "five words": " ".join(WORDS.split()[:5]),
        "seven words": f"{WORDS} zoo",
        "a word that is not in the list": WORDS.replace("able", "abel"),
        "nothing": "",
        "a QR text cut short": qr_text(QR_SECRET)[:-3],
        "a QR text with a digit that base32 lacks": qr_text(QR_SECRET)[:-1] + "1",
        "a QR text of 15 bytes": qr_text(QR_SECRET[:15]),
    }
    return {
        "about": "Section 4, pairing: K, psk = K[:32], proof under K[32:]; `bytes` is the proof",
        "cases": cases,
        "invalid": [{"reason": reason, "text": text} for reason, text in texts.items()],
    }


def _introduction(person: Person, tls: bytes) -> Introduction:
    return Introduction(person.statement, person.name, tls)


def _ends(key: PairingKey, keys: tuple[PairingKey, ...]) -> tuple[Joiner, Offerer]:
    joiner = Joiner(_introduction(BEN, BEN_TLS), BEN.static_secret, key=key, random=fixed_random("ben"))
    offerer = Offerer(
        _introduction(ADA, ADA_TLS),
        ADA.static_secret,
        keys=keys,
        begin_try=lambda: None,
        random=fixed_random("ada"),
    )
    return joiner, offerer


def _split(data: bytes) -> tuple[DoorType, bytes]:
    [message] = DoorReader().receive(data)
    return parse_message(message)


def pairing() -> Family:
    """Two whole conversations, by words and by QR."""
    keys = (derive_key(WORDS, WORDLIST), derive_key(qr_text(QR_SECRET), WORDLIST))
    ledger = ADA.founds()
    ADA.admits(ledger, BEN)
    admission = Admission(tuple(entry.raw for entry in ledger.entries), (KEY,), GRANT, PORTS)
    cases = [
        _conversation(text, key, keys, admission) for text, key in zip((WORDS, qr_text(QR_SECRET)), keys, strict=True)
    ]
    return {
        "about": (
            "Section 4, pairing: every message of a conversation. n-th draw of an end's random source: SHA-256 of "
            "'ada N 0' or 'ben N 0', cut to size; joiner: nonce, ephemeral; offerer: nonce2, ephemeral"
        ),
        "cases": cases,
        "invalid": _no_pairing(keys),
    }


def _conversation(text: str, key: PairingKey, keys: tuple[PairingKey, ...], admission: Admission) -> Json:
    joiner, offerer = _ends(key, keys)
    said: list[tuple[str, bytes]] = [("joiner", joiner.probe())]
    offer, _ = offerer.receive(*_split(said[-1][1]))
    joiner.receive(*_split(offer))
    said += [("offerer", offer), ("joiner", joiner.begin())]
    greeting, _ = offerer.receive(*_split(said[-1][1]))
    proof, _ = joiner.receive(*_split(greeting))
    said += [("offerer", greeting), ("joiner", proof)]
    offerer.receive(*_split(proof))
    for message in offerer.accept(admission):
        joiner.receive(*_split(message))
        said.append(("offerer", message))
    said.append(("joiner", joiner.confirm(BACK, BACK_PORTS)))
    return {
        "name": key.form.name,
        "text": text,
        "other_text": qr_text(QR_SECRET) if text == WORDS else WORDS,
        "joiner": _party(BEN, BEN_TLS, "ben"),
        "offerer": _party(ADA, ADA_TLS, "ada"),
        "admission": admission.to_bytes().hex(),
        "grant": _grant(BACK),
        "ports": [BACK_PORTS.mqtt, BACK_PORTS.door],
        "messages": [{"from": sender, "bytes": data.hex()} for sender, data in said],
    }


def _party(person: Person, tls: bytes, label: str) -> Json:
    return {
        "seed": person.seed.hex(),
        "static_secret": person.static_secret.hex(),
        "name": person.name,
        "tls_public": tls.hex(),
        "nonce": (draw := fixed_random(label))(16).hex(),
        "ephemeral": draw(32).hex(),
    }


def _grant(grant: Grant) -> Json:
    return {"ca": grant.ca.hex(), "ctl": grant.ctl.hex(), "bulk": grant.bulk.hex()}


def _no_pairing(keys: tuple[PairingKey, ...]) -> list[Json]:
    """Messages that end the conversation of the first case after `after` messages of it were said."""
    joiner, offerer = _ends(keys[0], keys)
    probe = joiner.probe()
    offer, _ = offerer.receive(*_split(probe))
    joiner.receive(*_split(offer))
    begin = joiner.begin()
    greeting, _ = offerer.receive(*_split(begin))
    proof, _ = joiner.receive(*_split(greeting))
    impostor = _greeting_of(replace(_introduction(ADA, ADA_TLS), statement=CLEO.statement), keys[0], begin)
    wrong: list[tuple[str, str, int, bytes]] = [
        ("offerer", "a probe of another version", 0, framed(DoorType.PROBE, b"\2" + probe[4:])),
        ("offerer", "a probe with a short nonce", 0, framed(DoorType.PROBE, probe[3:-1])),
        ("offerer", "PAIR before PROBE", 0, begin),
        ("joiner", "an offer whose proof is for other words", 1, flipped(offer, 3 + 32 + 16)),
        ("joiner", "an offer for another nonce2", 1, flipped(offer, 3 + 32)),
        ("joiner", "an offer of another node", 1, flipped(offer, 3)),
        ("joiner", "an offer cut short", 1, framed(DoorType.OFFER, offer[3:-1])),
        ("joiner", "no offer is open", 1, framed(DoorType.CLOSED)),
        ("offerer", "a form that is none", 2, flipped(framed(DoorType.PAIR, b"\3" + begin[4:]), 3)),
        ("offerer", "a proof of another conversation", 4, _proof_of_other_form(keys, offer)),
        ("joiner", "a greeting with one bit flipped", 3, flipped(greeting, 40)),
        ("joiner", "a greeting whose statement names another static key", 3, impostor),
        ("offerer", "a proof with one bit flipped", 4, flipped(proof, -1)),
        ("offerer", "a proof cut short", 4, framed(DoorType.HANDSHAKE, proof[3:-20])),
        ("offerer", "PROBE once more", 4, probe),
        ("joiner", "an acceptance nobody sealed", 5, framed(DoorType.SEALED, bytes(40))),
    ]
    return [invalid(reason, data, to=to, after=after) for to, reason, after, data in wrong]


def _greeting_of(introduction: Introduction, key: PairingKey, begin: bytes) -> bytes:
    """Return message 2 of somebody who knows the words and speaks with ada's static key, but says it is another."""
    draw = fixed_random("ada")
    nonce, nonce2 = fixed_random("ben")(NONCE_BYTES), draw(NONCE_BYTES)
    handshake = Handshake(
        Pattern.XXPSK3,
        initiator=False,
        static=ADA.static_secret,
        ephemeral=draw(32),
        prologue=prologue(key.form, nonce, nonce2, ADA.raw_id),
        psk=key.psk,
    )
    handshake.read(begin[4:])
    return framed(DoorType.HANDSHAKE, handshake.write(introduction.to_bytes()))


def _proof_of_other_form(keys: tuple[PairingKey, ...], offer: bytes) -> bytes:
    """Return the proof of a conversation by QR, with the same nonces."""
    other, offerer = _ends(keys[1], keys)
    offerer.receive(*_split(other.probe()))
    other.receive(*_split(offer))
    greeting, _ = offerer.receive(*_split(other.begin()))
    proof, _ = other.receive(*_split(greeting))
    return proof


def enrolment() -> Family:
    """A conversation between two members that learnt of each other from the ledger."""
    community = ADA.founds().community
    place = Place(community, ADA.raw_id)
    owner = Owner(place, ADA.static_secret, ephemeral=fixed_random("ada")(32))
    applicant = _applicant(place)
    request = applicant.request(BEN_TLS)
    owner.request(_split(request)[1])
    answer = owner.grant(GRANT, ADA_TLS, PORTS)
    applicant.granted(*_split(answer))
    back = applicant.give_back(BACK, BACK_PORTS)
    whole: Json = {
        "name": "a grant for a grant",
        "community": community.hex(),
        "owner": {**_party(ADA, ADA_TLS, "ada"), "ephemeral": fixed_random("ada")(32).hex()},
        "member": {**_party(BEN, BEN_TLS, "ben"), "ephemeral": fixed_random("ben")(32).hex()},
        "owners_grant": _grant(GRANT),
        "owners_ports": [PORTS.mqtt, PORTS.door],
        "members_grant": _grant(BACK),
        "members_ports": [BACK_PORTS.mqtt, BACK_PORTS.door],
        "messages": [
            {"from": sender, "bytes": data.hex()}
            for sender, data in (("member", request), ("owner", answer), ("member", back))
        ],
    }
    elsewhere = _applicant(Place(b"d" * 32, ADA.raw_id)).request(BEN_TLS)
    to_cleo = _applicant(Place(community, CLEO.raw_id)).request(BEN_TLS)
    wrong: list[tuple[str, str, int, bytes]] = [
        ("owner", "a request of another community", 0, elsewhere),
        ("owner", "a request to another node's door", 0, to_cleo),
        ("owner", "a request with one bit flipped", 0, flipped(request, -1)),
        ("owner", "a request cut short", 0, framed(DoorType.ENROL, request[3:60])),
        ("owner", "a TLS key of 513 bytes", 0, _applicant(place).request(bytes(513))),
        ("member", "an answer with one bit flipped", 1, flipped(answer, 10)),
        ("member", "an answer under another type", 1, framed(DoorType.SEALED, answer[3:])),
        ("owner", "a grant back with one bit flipped", 2, flipped(back, 5)),
        ("owner", "a certificate of 1101 bytes", 2, _too_large(place, answer)),
    ]
    return {
        "about": "Section 4, enrolment: Noise IK between two members; ephemeral keys as in pairing, first draw",
        "cases": [whole],
        "invalid": [invalid(reason, data, to=to, after=after) for to, reason, after, data in wrong],
    }


def _applicant(place: Place) -> Applicant:
    return Applicant(place, BEN.static_secret, owner_static=ADA.statement.static, ephemeral=fixed_random("ben")(32))


def _too_large(place: Place, answer: bytes) -> bytes:
    applicant = _applicant(place)
    applicant.request(BEN_TLS)
    applicant.granted(*_split(answer))
    return applicant.give_back(Grant(bytes(1101), b"", b""), BACK_PORTS)

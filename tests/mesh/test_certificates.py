"""Certificates: each node is the authority of its own broker only, with or without a clock."""

import hashlib
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from mesh import certificates, mqtt_gate
from mesh.certificates import BrokerAuthority, PageCertificate, TlsKey, client_context
from mesh.core.topic_policy import CommonName, Role
from mesh.errors import CertificateError, PageCertificateError

PEER = CommonName("b" * 52, Role.CTL)


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> str:
    """Do a TLS handshake and one echo over a socket pair; return the client's common name as the server saw it."""
    ours, theirs = socket.socketpair()
    seen: list[str] = []

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as tls:
                subject = (tls.getpeercert() or {})["subject"]
                seen.append(str(dict(pair[0] for pair in subject)["commonName"]))  # type: ignore[misc]
                tls.sendall(b"x")
        except (ssl.SSLError, OSError):
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours) as tls:
            assert tls.version() == "TLSv1.3"
            if tls.recv(1) != b"x":
                raise ssl.SSLError
    finally:
        ours.close()
        thread.join()
    return seen[0]


def listening(authority: BrokerAuthority) -> ssl.SSLContext:
    """Give the context of a broker of this authority."""
    return mqtt_gate.server_context(
        ca_path=authority.ca_path,
        certificate_path=authority.server_certificate_path,
        key_path=authority.server_key_path,
    )


@pytest.fixture
def authority(tmp_path: Path) -> BrokerAuthority:
    """Make the authority of one broker."""
    return BrokerAuthority(tmp_path / "tls")


@pytest.fixture
def key(tmp_path: Path) -> TlsKey:
    """Make a neighbour's key."""
    return TlsKey.open(tmp_path / "client.key")


def test_a_certified_neighbour_is_let_in_by_its_name(authority: BrokerAuthority, key: TlsKey) -> None:
    """The broker sees the common name its own authority wrote."""
    pem = authority.sign(key.public_bytes, PEER)
    client = certificates.client_context(ca_pem=authority.ca_pem, certificate_pem=pem, key=key)
    assert shake_hands(client, listening(authority)) == str(PEER)


def test_another_brokers_certificate_is_refused(authority: BrokerAuthority, key: TlsKey, tmp_path: Path) -> None:
    """What one authority signs opens no other broker."""
    pem = BrokerAuthority(tmp_path / "other").sign(key.public_bytes, PEER)
    client = certificates.client_context(ca_pem=authority.ca_pem, certificate_pem=pem, key=key)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shake_hands(client, listening(authority))


def test_a_broker_of_another_authority_is_refused(authority: BrokerAuthority, key: TlsKey, tmp_path: Path) -> None:
    """The authority is pinned: no other broker passes for this one."""
    other = BrokerAuthority(tmp_path / "other")
    client = certificates.client_context(
        ca_pem=authority.ca_pem, certificate_pem=authority.sign(key.public_bytes, PEER), key=key
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, listening(other))


def test_a_neighbours_certificate_does_not_pass_for_the_broker(
    authority: BrokerAuthority, key: TlsKey, tmp_path: Path
) -> None:
    """A client's certificate under the right authority cannot impersonate its broker."""
    forged = tmp_path / "forged.crt"
    forged.write_bytes(authority.sign(key.public_bytes, PEER))
    key_path = tmp_path / "client.key"
    server = mqtt_gate.server_context(ca_path=authority.ca_path, certificate_path=forged, key_path=key_path)
    third = TlsKey.open(tmp_path / "third.key")
    client = certificates.client_context(
        ca_pem=authority.ca_pem,
        certificate_pem=authority.sign(third.public_bytes, CommonName("c" * 52, Role.CTL)),
        key=third,
    )
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        shake_hands(client, server)


def test_certificates_hold_from_1970_to_the_end(authority: BrokerAuthority, key: TlsKey) -> None:
    """A board whose clock starts in 1970 accepts them; nothing is ever renewed."""
    for pem in (
        authority.ca_pem,
        authority.server_certificate_path.read_bytes(),
        authority.sign(key.public_bytes, PEER),
    ):
        certificate = x509.load_pem_x509_certificate(pem)
        assert certificate.not_valid_before_utc.isoformat() == "1970-01-01T00:00:00+00:00"
        assert certificate.not_valid_after_utc.isoformat() == "9999-12-31T23:59:59+00:00"


def test_a_leaf_signs_no_further_certificates(authority: BrokerAuthority, key: TlsKey) -> None:
    """CA:FALSE, and a client's certificate is for clients only."""
    leaf = x509.load_pem_x509_certificate(authority.sign(key.public_bytes, PEER))
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]) == (
        leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    )


def test_keys_are_private_and_stay(tmp_path: Path) -> None:
    """A restart finds the same authority; no file is readable by others."""
    first = BrokerAuthority(tmp_path / "tls")
    served = first.server_certificate_path.read_bytes()
    second = BrokerAuthority(tmp_path / "tls")
    assert first.ca_pem == second.ca_pem
    assert served == second.server_certificate_path.read_bytes()
    assert {0o600} == {path.stat().st_mode & 0o777 for path in (tmp_path / "tls").iterdir()}


def test_a_lost_authority_key_makes_a_consistent_new_authority(tmp_path: Path) -> None:
    """A half restored directory gives a working broker, not one that nobody can verify."""
    first = BrokerAuthority(tmp_path / "tls")
    (tmp_path / "tls" / "ca.key").unlink()
    second = BrokerAuthority(tmp_path / "tls")
    assert first.ca_pem != second.ca_pem
    server = x509.load_pem_x509_certificate(second.server_certificate_path.read_bytes())
    server.verify_directly_issued_by(x509.load_pem_x509_certificate(second.ca_pem))


def spki(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    """Encode a public key the way a request carries it."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"",
        b"nonsense",
        b"\x30" * 513,
        spki(ec.generate_private_key(ec.SECP384R1())),
        spki(ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=["empty", "nonsense", "too long", "P-384", "Ed25519"],
)
def test_a_malformed_request_is_refused(authority: BrokerAuthority, request_bytes: bytes) -> None:
    """Only a P-256 key is certified."""
    with pytest.raises(CertificateError):
        authority.sign(request_bytes, PEER)


@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "server.key", "server.crt"])
def test_a_damaged_file_is_named_and_kept(tmp_path: Path, name: str) -> None:
    """Nothing is silently replaced: the owner may have a backup."""
    BrokerAuthority(tmp_path / "tls")
    (tmp_path / "tls" / name).write_bytes(b"damaged")
    with pytest.raises(CertificateError, match=name):
        BrokerAuthority(tmp_path / "tls")
    assert (tmp_path / "tls" / name).read_bytes() == b"damaged"


def test_another_kind_of_key_in_the_file_is_refused(tmp_path: Path) -> None:
    """Only P-256 is used."""
    (tmp_path / "k").write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(CertificateError, match="another kind"):
        TlsKey.open(tmp_path / "k")


@pytest.mark.parametrize("broken", ["ca", "certificate", "key"])
def test_certificates_that_do_not_fit_are_refused(
    authority: BrokerAuthority, key: TlsKey, tmp_path: Path, broken: str
) -> None:
    """A grant from a hostile neighbour ends in an error of ours."""
    pem = authority.sign(key.public_bytes, PEER)
    other = TlsKey.open(tmp_path / "other.key")
    with pytest.raises(CertificateError):
        certificates.client_context(
            ca_pem=b"\xff\xfe" if broken == "ca" else authority.ca_pem,
            certificate_pem=b"junk" if broken == "certificate" else pem,
            key=other if broken == "key" else key,
        )


def test_a_key_beside_a_certificate_is_not_asked_for(tmp_path: Path) -> None:
    """A neighbour's certificate comes with an encrypted key: nobody is asked for its password, and nothing breaks."""
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    authority, key = BrokerAuthority(tmp_path / "tls"), TlsKey.make()
    certificate = authority.sign(key.public_bytes, CommonName("a" * 52, Role.CTL))
    client_context(ca_pem=authority.ca_pem, certificate_pem=locked + certificate, key=key)
    with pytest.raises(CertificateError):
        client_context(ca_pem=authority.ca_pem, certificate_pem=locked, key=key)


def encrypted_key() -> bytes:
    """A private key that OpenSSL would ask a pass phrase for, at the terminal."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )


def test_an_encrypted_key_beside_a_certificate_asks_nobody(authority: BrokerAuthority, key: TlsKey) -> None:
    """Of a neighbour's PEM only the one certificate counts; a key alone is an error of ours."""
    pem = authority.sign(key.public_bytes, PEER)
    for hostile in (encrypted_key() + pem, pem + encrypted_key()):
        client = certificates.client_context(ca_pem=authority.ca_pem, certificate_pem=hostile, key=key)
        assert shake_hands(client, listening(authority)) == str(PEER)
    foreign = authority.sign(TlsKey.make().public_bytes, PEER)
    for hostile in (encrypted_key(), foreign + encrypted_key()):
        with pytest.raises(CertificateError):
            certificates.client_context(ca_pem=authority.ca_pem, certificate_pem=hostile, key=key)


def test_one_authority_is_pinned_and_no_more(authority: BrokerAuthority, key: TlsKey, tmp_path: Path) -> None:
    """What follows the first certificate is not trusted."""
    other = BrokerAuthority(tmp_path / "other")
    pem = authority.sign(key.public_bytes, PEER)
    client = certificates.client_context(ca_pem=other.ca_pem + authority.ca_pem, certificate_pem=pem, key=key)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, listening(authority))


def test_the_page_certificate_is_made_once(tmp_path: Path) -> None:
    """In one private file, for the host it was made for, from 1970 to the end; another name changes nothing."""
    path = tmp_path / "https.pem"
    made, again = PageCertificate.open(path, host="ember.local"), PageCertificate.open(path, host="spark.local")
    assert made.fingerprint == again.fingerprint
    assert path.stat().st_mode & 0o777 == 0o600
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    certificate.verify_directly_issued_by(certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("ember.local")]
    assert (certificate.not_valid_before_utc.year, certificate.not_valid_after_utc.year) == (1970, 9999)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)


def test_the_fingerprint_is_that_of_what_is_served(tmp_path: Path) -> None:
    """SHA-256 over the certificate as it comes over the wire, in pairs with colons."""
    page = PageCertificate.open(tmp_path / "https.pem", host="ember.local")
    _, mark, pem = (tmp_path / "https.pem").read_text().partition(ssl.PEM_HEADER)
    served = ssl.PEM_cert_to_DER_cert(mark + pem)
    digest = hashlib.sha256(served).hexdigest().upper()
    assert ":".join(digest[at : at + 2] for at in range(0, 64, 2)) == page.fingerprint


def test_two_boards_have_two_page_certificates(tmp_path: Path) -> None:
    """Of one name, say; neither can pass for the other."""
    one, other = (PageCertificate.open(tmp_path / name, host="ember.local") for name in ("one", "other"))
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize("damage", ["empty", "nonsense", "no key", "no certificate", "another key"])
def test_a_damaged_page_certificate_is_named_and_kept(tmp_path: Path, damage: str) -> None:
    """Nothing is silently replaced: guests have compared its fingerprint."""
    path = tmp_path / "https.pem"
    PageCertificate.open(path, host="ember.local")
    PageCertificate.open(tmp_path / "other", host="ember.local")
    mark = b"-----BEGIN CERTIFICATE"
    key, _, certificate = path.read_bytes().partition(mark)
    other_key = (tmp_path / "other").read_bytes().partition(mark)[0]
    damaged = {
        "empty": b"",
        "nonsense": b"nonsense",
        "no key": mark + certificate,
        "no certificate": key,
        "another key": other_key + mark + certificate,
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(PageCertificateError, match=r"https\.pem is damaged") as raised:
        PageCertificate.open(path, host="ember.local")
    assert "remove it" in raised.value.hint
    assert path.read_bytes() == damaged

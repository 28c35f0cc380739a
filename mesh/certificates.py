"""TLS keys and certificates: each node is the authority of its own broker, and of nothing else.

TLS is a gate; who a peer is, Noise decides. So certificates never expire (a board without a clock lives in 1970),
are never revoked (the broker's access list is what a removal changes) and name no host.  The page for phones has one
of its own, which nobody vouches for.
"""

import datetime as dt
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mesh.core.topic_policy import CommonName
from mesh.errors import CertificateError, PageCertificateError

NOT_BEFORE = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NOT_AFTER = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
MAX_REQUEST_BYTES = 512  # a P-256 public key takes 91 (DER) or 178 (PEM)


class TlsKey:
    """The node's own P-256 key for dialling brokers, kept in one file."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @classmethod
    def open(cls, path: Path) -> "TlsKey":
        """Read the key, or make it on the first start.  Raises CertificateError on a damaged file."""
        return cls(_open_key(path))

    @classmethod
    def make(cls) -> "TlsKey":
        """Make a key that lives in memory only."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @property
    def public_bytes(self) -> bytes:
        """The public half, as DER SubjectPublicKeyInfo: what a neighbour's authority signs."""
        return _spki(self._key.public_key())

    @property
    def private_pem(self) -> bytes:
        """The private half, as unencrypted PKCS #8."""
        return _private_pem(self._key)


class BrokerAuthority:
    """The authority that says who may connect to this node's broker.

    Files, all 0600, under `directory`: ca.key, ca.crt, server.key, server.crt.  What is missing is made.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._key = _open_key(directory / "ca.key")
        self.ca_path = directory / "ca.crt"
        self._certificate = self._open_ca()
        self.server_key_path = directory / "server.key"
        self.server_certificate_path = directory / "server.crt"
        self._make_server()

    @property
    def ca_pem(self) -> bytes:
        """The authority's certificate, for a neighbour to pin."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, public_bytes: bytes, common_name: CommonName) -> bytes:
        """Certify a client's P-256 key (DER SubjectPublicKeyInfo); return the certificate as PEM.

        Raises CertificateError when the request is no such key: it comes from outside.
        """
        if len(public_bytes) > MAX_REQUEST_BYTES:
            raise CertificateError(f"a certificate request of {len(public_bytes)} bytes is refused")
        try:
            public_key = serialization.load_der_public_key(public_bytes)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise CertificateError("a certificate request holds no public key") from error
        if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
            raise CertificateError("a certificate request names another kind of key than P-256")
        return self._leaf(public_key, str(common_name), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _open_ca(self) -> x509.Certificate:
        certificate = _open_certificate(self.ca_path)
        if certificate is None or not _issued(certificate, by=certificate, to=self._key):
            return self._make_ca()
        return certificate

    def _make_ca(self) -> x509.Certificate:
        name = _name("hearthmesh broker authority")
        builder = _builder(subject=name, issuer=name, public_key=self._key.public_key())
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        write_private(self.ca_path, certificate.public_bytes(serialization.Encoding.PEM))
        return certificate

    def _make_server(self) -> None:
        key = _open_key(self.server_key_path)
        certificate = _open_certificate(self.server_certificate_path)
        if certificate is None or not _issued(certificate, by=self._certificate, to=key):
            pem = self._leaf(key.public_key(), "broker", ExtendedKeyUsageOID.SERVER_AUTH)
            write_private(self.server_certificate_path, pem)

    def _leaf(self, public_key: ec.EllipticCurvePublicKey, common_name: str, usage: x509.ObjectIdentifier) -> bytes:
        # The usage matters: a neighbour's client certificate must not pass for this broker's own at a third node.
        builder = _builder(subject=_name(common_name), issuer=self._certificate.subject, public_key=public_key)
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


class PageCertificate:
    """The self-signed certificate of the page for phones, and its key, in one file that is made once.

    A browser warns of it, and a person who goes on has compared the fingerprint or has not: nothing else in it counts.
    So it names the host that it was made for, stays when the name changes, and ends in 9999 like all others here
    (limits on a lifetime are browsers' demands on authorities they trust).
    """

    def __init__(self, pem: bytes) -> None:
        """pem: key and certificate.  Raises ValueError or OSError when they are none, or not of one another."""
        certificate = x509.load_pem_x509_certificate(pem)
        self.fingerprint = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        """SHA-256 of the certificate as browsers show it: pairs of digits with colons."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """For a server of TLS 1.2, which old phones have, and newer."""
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_RENEGOTIATION
        self.context.set_alpn_protocols(["http/1.1"])
        _load_chain(self.context, pem)

    @classmethod
    def open(cls, path: Path, *, host: str) -> "PageCertificate":
        """Read the file, or make one for that host where there is none.

        Raises PageCertificateError on a damaged file, which is kept; OSError where none can be read or written.
        """
        try:
            pem = path.read_bytes()
        except FileNotFoundError:
            pem = _self_signed(host)
            write_private(path, pem)
        try:
            return cls(pem)
        except (OSError, ValueError) as error:
            raise PageCertificateError(f"{path} is damaged; nothing was changed") from error


def _self_signed(host: str) -> bytes:
    key, name = ec.generate_private_key(ec.SECP256R1()), _name(host)
    certificate = (
        _builder(subject=name, issuer=name, public_key=key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _private_pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


def client_context(*, ca_pem: bytes, certificate_pem: bytes, key: TlsKey) -> ssl.SSLContext:
    """Build the TLS 1.3 context for dialling one broker, whose authority is pinned; host names are not looked at.

    Raises CertificateError when the certificates are malformed or are not for this key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cadata=_one_certificate(ca_pem).decode("ascii"))
        _load_chain(context, _one_certificate(certificate_pem) + key.private_pem)
    except (OSError, ValueError) as error:
        raise CertificateError("the certificates for a neighbour's broker cannot be used") from error
    return context


def _one_certificate(pem: bytes) -> bytes:
    """Take one certificate out of foreign PEM, and nothing else: an encrypted key beside it would ask for a password.

    Raises ValueError.
    """
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.PEM)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file atomically and durably, readable by the owner alone."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)  # left over from a power cut
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123  only this opens a descriptor
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    # The ssl module reads keys from files only; this one never touches a disk.
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")  # never asks at the terminal
    finally:
        os.close(descriptor)


def _open_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        key = ec.generate_private_key(ec.SECP256R1())
        write_private(path, _private_pem(key))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path} is damaged; nothing was changed") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{path} holds another kind of key than P-256; nothing was changed")
    return key


def _open_certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CertificateError(f"{path} is damaged; nothing was changed") from error


def _issued(certificate: x509.Certificate, *, by: x509.Certificate, to: ec.EllipticCurvePrivateKey) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return _spki(certificate.public_key()) == _spki(to.public_key())


def _builder(
    *, subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _spki(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

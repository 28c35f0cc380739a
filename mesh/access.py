"""Keys to brokers, given and used: this node's authority certifies neighbours, its own key uses what they gave."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mesh.certificates import BrokerAuthority, TlsKey, client_context
from mesh.core import crypto
from mesh.core.door_messages import Grant
from mesh.core.frames import Lane
from mesh.core.topic_policy import CommonName, Role
from mesh.identity import Identity

ROLES: Final[Mapping[Lane, Role]] = {Lane.CTL: Role.CTL, Lane.BULK: Role.BULK}


class Access:
    """What opens this node's broker to others, and others' brokers to this node; files under `directory`."""

    def __init__(self, identity: Identity, directory: Path) -> None:
        self._identity = identity
        self.authority = BrokerAuthority(directory)
        self._key = TlsKey.open(directory / "client.key")

    @property
    def tls_public(self) -> bytes:
        """The key other nodes certify."""
        return self._key.public_bytes

    def grant_for(self, raw_id: bytes, tls_public: bytes) -> Grant:
        """Let a member into this node's broker.  Errors: CertificateError when its key is none."""
        node_id = crypto.node_id(raw_id)
        ctl, bulk = (
            self.authority.sign(tls_public, CommonName(node_id, ROLES[lane])) for lane in (Lane.CTL, Lane.BULK)
        )
        return Grant(self.authority.ca_pem, ctl, bulk)

    def contexts(self, grant: Grant) -> dict[Lane, ssl.SSLContext]:
        """Build what each lane dials a neighbour's broker with.  Errors: CertificateError."""
        pems = {Lane.CTL: grant.ctl, Lane.BULK: grant.bulk}
        return {lane: client_context(ca_pem=grant.ca, certificate_pem=pem, key=self._key) for lane, pem in pems.items()}

    def check(self, grant: Grant) -> None:
        """Refuse a grant that opens nothing, before it is kept.  Errors: CertificateError."""
        self.contexts(grant)

    def own_context(self) -> ssl.SSLContext:
        """Build what this node dials its own broker with."""
        name = CommonName(self._identity.node_id, Role.OWNER)
        certificate = self.authority.sign(self._key.public_bytes, name)
        return client_context(ca_pem=self.authority.ca_pem, certificate_pem=certificate, key=self._key)

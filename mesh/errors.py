"""Errors of the mesh. Each says what happened; its `hint` says what to do next."""


class MeshError(Exception):
    """Root of everything the mesh raises."""

    hint = "see `hearth peers` and the log"


class BrokerError(MeshError):
    """The node's own MQTT broker does not start."""

    hint = "read the broker's last lines in the log; `[mqtt] broker` chooses the other kind"


class PortInUseError(BrokerError):
    """Something else listens on a port of this node."""

    hint = "stop the other program, or choose another port in hearth.toml (0 = any free one)"


class CertificateError(MeshError):
    """A TLS key, certificate or request cannot be used."""

    hint = "pair the two nodes again"


class LinkDownError(MeshError):
    """There is no connection to the neighbour now; nothing was queued."""

    hint = "see `hearth peers`; the node goes on trying by itself"


class QueueFullError(MeshError):
    """Too much is on its way to the neighbour already; this message was not queued."""

    hint = "try again when the neighbour has caught up"


class DuplicateNodeError(MeshError):
    """Another machine on this network answers with this node's identity: a cloned card."""

    hint = "give the copy its own identity: stop it, move its data directory away and start it again"

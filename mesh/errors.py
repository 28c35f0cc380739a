"""What can go wrong in the mesh, each with what to do next."""

from typing import ClassVar


class MeshError(Exception):
    """Root of the package's errors; `hint` says what the owner can do next."""

    hint: ClassVar[str] = "run it again; if it stays, look at the log of `hearth serve`"


class PeerMisbehavedError(MeshError):
    """Bytes from outside break the protocol; they were dropped and nothing was changed."""

    hint = "nothing to do here: the message was dropped; the other node may run another version"


class CryptoError(PeerMisbehavedError):
    """A seal, signature or key from outside does not hold."""


class MalformedError(PeerMisbehavedError):
    """Bytes from outside are not the message they claim to be."""


class ReplayedError(MalformedError):
    """A sealed message was taken before, or is too old to tell; it was dropped."""


class ProofError(PeerMisbehavedError):
    """A Merkle proof does not lead to the root it is about."""


class RecordRefusedError(MeshError):
    """An exported record is not what its authors and signers signed.

    position: of the entry at fault, counted from 0; None where no single one is.  entry_id, author: as they stand in
    the file, raw; empty where they cannot be told.
    """

    hint = "do not rely on this file: ask a member of the community for another one, and compare"

    def __init__(self, what: str, *, position: int | None = None, entry_id: bytes = b"", author: bytes = b"") -> None:
        super().__init__(what)
        self.position = position
        self.entry_id = entry_id
        self.author = author


class LinkDownError(MeshError):
    """The neighbour cannot be reached now; the message was not sent."""

    hint = "see `hearth peers`; the link comes back by itself once the neighbour is in reach"


class QueueFullError(MeshError):
    """Too much waits to be sent to this neighbour; the message was not sent."""

    hint = "the neighbour reads too slowly; try again in a moment"


class MessageTooLargeError(MeshError):
    """A message does not fit one frame; it was not sent."""

    hint = "send less at once"


class PortInUseError(MeshError):
    """Another program listens on the port this node wants."""

    hint = "stop the other program, or choose another port in hearth.toml ([mqtt] port, [door] port)"


class BrokerFailedError(MeshError):
    """The node's own broker does not start or does not stay up."""

    hint = 'see the broker\'s lines in the log; `[mqtt] broker = "amqtt"` uses the built-in one'


class CertificateError(MeshError):
    """A certificate or TLS key cannot be read, or is not what was asked for; nothing was changed."""

    hint = "remove the tls directory of the data directory; the node makes a new one and asks its neighbours again"


class PageCertificateError(CertificateError):
    """The file with the certificate of the page for phones, and its key, cannot be used; it was left as it is."""

    hint = (
        "restore it, or remove it: the node makes another, with a new fingerprint, of which every phone warns once more"
    )


class IdentityDamagedError(MeshError):
    """The identity files are not what this node wrote; nothing was changed."""

    hint = "put back the backup of the data directory, or start with an empty one (a new identity)"


class StorageError(MeshError):
    """The data directory cannot be read or written; what was there before is kept."""

    hint = "is the disk full or read-only?  df -h, and check the rights of the data directory"


class NoCommunityError(MeshError):
    """The node belongs to no community yet."""

    hint = "found one with `hearth pair`, or join one with `hearth join WORDS`"


class AlreadyMemberError(MeshError):
    """The node belongs to a community with other members and stays in it."""

    hint = "leave first: `hearth leave`"


class UnknownNodeError(MeshError):
    """No member or neighbour has this id."""

    hint = "`hearth peers` lists the ids"


class NotAllowedError(MeshError):
    """The community's rule does not let this node do that; nothing was changed."""

    hint = "cut the node off on this side: `hearth peers block ID`"


class KeyInDisputeError(NotAllowedError):
    """Whom this node would let in would be no member; who is one stays one."""

    hint = (
        "the key is used on two boards, or stolen: use one board only. To let others in, begin another community:"
        " `hearth leave`, `hearth rekey`, then `hearth pair`"
    )


class InvitingNotAllowedError(NotAllowedError):
    """This node may not let others in; nothing was changed."""

    hint = (
        "type `hearth pair` at a voter's node (`hearth community`), or begin a community of your own: `hearth leave`,"
        " then `hearth pair`"
    )


class NotVoterError(NotAllowedError):
    """Only voters propose and decide; nothing was changed."""

    hint = "`hearth community` says who votes; any of them can propose this node: `hearth propose voter ID`"


class NothingSignedError(MeshError):
    """There is nothing yet that a voter vouches for."""

    hint = "write all that this node holds: `hearth record FILE`; voters' boards sign soon after a decision"


class UnknownProposalError(MeshError):
    """Nothing that can be decided on has this id."""

    hint = "`hearth community` lists what can be decided on"


class WrongPaperError(MeshError):
    """These are not the twelve words of a recovery paper that this community knows; nothing was changed."""

    hint = "compare them with the paper, one by one; `hearth community` says which voters have one"


class FeedBehindError(MeshError):
    """This node signed entries its copy of the ledger no longer holds; it signs nothing until they are back."""

    hint = "link to a neighbour that has the newer ledger, then try again"


class FeedFullError(FeedBehindError):
    """This node has signed as much as a ledger holds of one author; leaving and a new key still have room."""

    hint = (
        "ask a voter to sign it, whose feed holds more: `hearth log` says what stands there already. A voter whose own"
        " is full goes on from another member's board, with its paper: `hearth community recover WORDS`"
    )


class BoardChangedError(FeedBehindError):
    """The identity was made on another board, where it may still be in use; this node signs nothing with it."""

    hint = "is the other board out of use, then `hearth rekey --moved`; if both are in use, `hearth rekey`"


class PairingError(MeshError):
    """Pairing did not come about; neither node changed its community."""

    hint = "open a new offer at the other node with `hearth pair`, then `hearth join WORDS`"


class WrongWordsError(PairingError):
    """No open offer in reach answers to these words."""

    hint = "check the words on the other node's screen; they count for ten minutes"


class NoOfferError(PairingError):
    """No node in reach has an open offer."""

    hint = "type `hearth pair` at the other node; if it is on another network, `hearth join WORDS --at HOST`"


class DoorRefusedError(PairingError):
    """The other node's door is open but lets nobody in now."""

    hint = "wait a minute and try again"


class DoorBusyError(DoorRefusedError):
    """The other node's door answers somebody else this second."""

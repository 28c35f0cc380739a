"""Everything that can go wrong in the daemon, its API and its command, one class a kind, each with what to do next."""

from typing import ClassVar


class DeviceError(Exception):
    """Root of this package's errors; `str()` says what happened, `hint` what to do next."""

    hint: str = "see the daemon's log"


class ConfigError(DeviceError):
    """A configuration file or a HEARTH_ variable holds something that is no configuration."""

    hint = "correct the named key, or leave it out for its default"


class DataDirectoryError(DeviceError):
    """The data directory cannot be used; what it holds is unchanged."""

    hint = "check its owner, permissions and free space, or choose another with --data DIR"


class AlreadyRunningError(DeviceError):
    """Another daemon holds the data directory."""

    hint = "talk to the one that runs (hearth status), stop it, or choose another directory with --data DIR"


class PortInUseError(DeviceError):
    """A port this node should listen on belongs to another program."""

    def __init__(self, port: int, key: str) -> None:
        super().__init__(f"port {port} is in use ([{key.partition('.')[0]}] {key.partition('.')[2]})")
        variable = f"HEARTH_{key.replace('.', '_').upper()}"
        self.hint = (
            f"stop the other program, or set {key} in hearth.toml or {variable} to another port; 0 = any free one"
        )


class BadRequestError(DeviceError):
    """A request does not say what it must; nothing was done.  `param` names the field at fault."""

    hint = "correct the named field and send the request again"
    code: ClassVar[str] = "invalid_value"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class NotSupportedError(BadRequestError):
    """A request asks for something that this version does not do and that would change the answer."""

    hint = "leave the named field out"
    code = "unsupported_parameter"


class RequestTooLargeError(DeviceError):
    """A request's body is larger than this node reads; nothing was done."""

    hint = "send less at once"


class RequestTooSlowError(DeviceError):
    """A request's body did not arrive in time; nothing was done."""

    hint = "send the request again"


class ForbiddenError(DeviceError):
    """A foreign page, a foreign name, or a key that is not for this asked the API; nothing was done."""

    hint = "open this node's own page, or ask from a program, which sends no Origin header"


class NoSuchRouteError(DeviceError):
    """The API has nothing at that path, or not with that method."""

    hint = "what there is, with examples, stands at /docs and in /openapi.json"


class NoSuchModelError(DeviceError):
    """Neither this node nor one in reach holds the model asked for."""

    hint = "see what is here and what can be had: hearth models ls"


class NoSuchNodeError(DeviceError):
    """No neighbour's or member's id begins like that."""

    hint = "see who is there: hearth peers"


class AmbiguousNodeError(DeviceError):
    """Several ids begin like that."""

    hint = "give more characters of the id"


class NodeUnreachableError(DeviceError):
    """The node is known but nothing reaches it now."""

    hint = "is it switched on and in reach?  hearth peers shows who is; ask again once it is linked or reachable"


class AnswerLostError(DeviceError):
    """A neighbour's answer ended before its end; what had arrived was handed on."""

    hint = "ask again"


class EnginesEndedError(DeviceError):
    """One engine after the other ended on the same question; nobody else is asked, what had arrived was handed on."""

    hint = "ask in another way, or another model; the logs of those nodes say how their engines ended"


class NeighbourMisbehavedError(DeviceError):
    """A neighbour sent something the protocol does not allow; its answer was dropped."""

    hint = "ask another node; if it goes on, block it: hearth peers block ID"


class NeighbourFailedError(DeviceError):
    """A neighbour could not answer and said why.  `code` is one of `device.core.query_messages.FAILURES`."""

    hint = "ask again, or ask another node"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BusyError(DeviceError):
    """This node has as many questions as it can hold; this one was not taken.  retry_after_s: when to ask again."""

    hint = "wait for an answer and ask again"

    def __init__(self, message: str, *, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyRequestsError(DeviceError):
    """A client asks more often than it may; nothing was done.  retry_after_s: when it may again."""

    hint = "wait as long as it says, then go on"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BudgetUsedUpError(TooManyRequestsError):
    """A key's tokens are used up until its budget renews."""

    hint = "wait until then, or ask the owner of this node for more"


class UnknownKeyError(DeviceError):
    """A request has no key, or one that is wrong, forgotten or revoked; nothing was done."""

    hint = (
        "scan the owner's QR code again, or send a key of this node's in the header Authorization: Bearer KEY "
        "(its owner makes one: hearth keys add NAME)"
    )


class NoSuchKeyError(DeviceError):
    """No key has that id or name."""

    hint = "see which keys there are: hearth keys"


class NotSharedError(DeviceError):
    """A model is not passed on to neighbours, and why."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class StrangersReleaseError(DeviceError):
    """What was sent as a model's release is another model's, or nobody signed it whom the community knows."""

    hint = "nothing was fetched; whoever holds it can vouch for it by a card: hearth models card NAME --edit, there"


class NotPublishedError(DeviceError):
    """The community has published no model of that name or digest."""

    hint = "see what it has published: hearth log --kind model"


class RetiredModelError(DeviceError):
    """A voter has retired the model, and this node does not vote; nothing was signed."""

    hint = "ask a voter to publish it again; to see who retired it and why: hearth log --kind retire"


class RetiringNotAllowedError(DeviceError):
    """A model was published by others, and this node does not vote; nothing was signed."""

    hint = "ask whoever published it, or a voter, to retire it; hearth log --kind model says who did"


class NoHolderError(DeviceError):
    """No node in reach gives the model; what has come of it is kept."""

    hint = "see who holds it: hearth status; the pull goes on where it stopped once it is asked for again"


class StoppingError(DeviceError):
    """The node is stopping; the answer ended here."""

    hint = "ask again once it runs: hearth status"


class DaemonUnreachableError(DeviceError):
    """Nothing answers on the owner's socket."""

    hint = "start it: hearth serve"


class RequestRefusedError(DeviceError):
    """The daemon understood and said no; message and hint are its own.  param: the field at fault, if it is one."""

    def __init__(self, message: str, *, hint: str, code: str, status: int, param: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code
        self.status = status
        self.param = param


class UnexpectedReplyError(DeviceError):
    """The daemon said something this client does not understand."""

    hint = "the daemon may be of another version: restart it"


class WontFitError(DeviceError):
    """A model will not fit this board, as far as can be told before its first byte; nothing was fetched."""

    hint = "choose a smaller one, free some space (hearth models rm NAME), or insist: hearth models pull NAME --anyway"


class BundleFileError(DeviceError):
    """The file of a bundle cannot be read or written; nothing was left half-written."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class RecordFileError(DeviceError):
    """The file of a community's record is not what its authors and signers signed."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class AnswerBrokenOffError(DeviceError):
    """The stream ended before the answer or the pull did; what had arrived stands."""

    hint = "ask again; if the daemon went down, its log says why"


class DaemonTimeoutError(DeviceError):
    """The daemon took the request and did not answer in time."""

    hint = "it may be busy: try again; if it stays silent, restart it"


class NodeFailedError(DeviceError):
    """The node could not start or go on, for a reason that mesh or models gave together with its hint."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

"""What the daemon answers on the owner's socket, as frozen values; nothing past `device.client` sees a raw dict."""

from dataclasses import dataclass

from device.api_of_models import HeldModel, Model
from models.core.request import TokenLogprob


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """Another member, or a blocked node; state: linked, reachable (over others), connecting, unreachable or blocked.

    hops: 1 for a direct link, 0 for whom nothing reaches; trouble: where and why the last try to reach it failed.
    """

    node_id: str
    name: str
    state: str
    since_s: float = 0.0
    hops: int = 0
    trouble: str = ""
    models: tuple[HeldModel, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Member:
    """One node of the community, in reach or not."""

    node_id: str
    name: str
    role: str
    fingerprint: str = ""
    this_node: bool = False


@dataclass(frozen=True, kw_only=True)
class Community:
    """The nodes that share a charter with this one.

    state: a hash of who belongs, equal wherever as much is known; entries: how many its record has here.
    """

    id: str
    name: str
    epoch: int = 0
    state: str = ""
    entries: int = 0
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HttpAddress:
    """Where programs on this machine find the OpenAI-compatible API."""

    host: str
    port: int


@dataclass(frozen=True, kw_only=True)
class HttpsAddress:
    """The port of the same API over TLS, where the LAN is open, and the SHA-256 fingerprint of its certificate."""

    port: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class BrokerAddress:
    """Port and kind of the own MQTT broker."""

    port: int
    broker: str = ""


@dataclass(frozen=True, kw_only=True)
class DoorAddress:
    """Port where strangers may knock."""

    port: int


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What the daemon uses and what the machine has left.

    engine_…: of the process that has a model loaded, 0 while there is none: its own memory, and the pages of files that
    it shares with the kernel's cache.
    """

    rss_bytes: int
    available_bytes: int
    engine_anonymous_bytes: int = 0
    engine_file_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class QueryCounts:
    """Questions in hand now, and since the daemon started."""

    running: int
    waiting: int
    answered: int
    asked: int


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Questions that wait for this node's engine, by who asks.

    share: how much of its time the board works for guests and neighbours, 0 to 1; reason: why that is not all.
    """

    owner: int = 0
    own: int = 0
    guest: int = 0
    neighbour: int = 0
    share: float = 1.0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class GuestAccess:
    """Who may ask over the network.

    open: whether this node listens there at all; urls: where, with the guests' key if this run has made it (shows_key);
    https_urls: the same where it listens over TLS, and fingerprint, of that certificate: none where that is not wanted;
    phones: how many have come with one; per_minute, per_day: questions and tokens of that key, 0 = no limit.
    """

    open: bool
    urls: tuple[str, ...] = ()
    https_urls: tuple[str, ...] = ()
    fingerprint: str = ""
    phones: int = 0
    guest_keys: int = 0
    shows_key: bool = False
    per_minute: int = 0
    per_day: int = 0


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key that somebody asks with; used_ago_s counts the node's running time, None = never used.

    tokens_left, renews_in_s: of its day's budget, None where it has none.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    guest: bool = False
    used_ago_s: int | None = None
    per_minute: int = 0
    per_day: int = 0
    tokens_left: int | None = None
    renews_in_s: int | None = None


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Every key of this node."""

    keys: tuple[ApiKey, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """A key just made; the secret is shown this once."""

    key: ApiKey
    secret: str


NO_QUEUE = Queue()
CLOSED = GuestAccess(open=False)


@dataclass(frozen=True, kw_only=True)
class Status:
    """This node at one moment."""

    node_id: str
    name: str
    version: str
    uptime_s: float
    http: HttpAddress
    https: HttpsAddress | None = None
    mqtt: BrokerAddress
    door: DoorAddress
    memory: Memory
    queries: QueryCounts
    queue: Queue = NO_QUEUE
    guests: GuestAccess = CLOSED
    community: Community | None = None
    neighbours: tuple[Neighbour, ...] = ()
    models: tuple[Model, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing a diagnosis found.  severity: fault, warning or note, of which the last asks for nothing."""

    severity: str
    what: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What keeps this node from its neighbours.  members: the other ones; reached: how many of them are in reach."""

    sound: bool
    members: int = 0
    reached: int = 0
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Nearby:
    """A node seen on the local network; an address, never trust."""

    node_id: str
    addresses: tuple[str, ...] = ()
    member: bool = False


@dataclass(frozen=True, kw_only=True)
class Peers:
    """Everyone this node knows of."""

    neighbours: tuple[Neighbour, ...] = ()
    nearby: tuple[Nearby, ...] = ()
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An open offer to pair: six words to say, or the text of a QR code, and who offers."""

    words: str
    qr: str
    expires_in_s: float
    node_id: str
    name: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Joined:
    """The node whose offer was taken, and the community it led to."""

    node_id: str
    name: str
    fingerprint: str
    community: str = ""


@dataclass(frozen=True, kw_only=True)
class Rekeyed:
    """This node restarts with a new identity; kept: the directory with all of the old one."""

    kept: str


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """Who answers, and with which model."""

    node_id: str
    node_name: str
    model: str
    model_digest: str
    local: bool = False


@dataclass(frozen=True, kw_only=True)
class ChatMessage:
    """One turn of a conversation; role is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen; what is None is left to the daemon."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class AnswerQueued:
    """The question waits for its turn; place 1 is the next."""

    place: int


@dataclass(frozen=True, kw_only=True)
class AnswerLoading:
    """The question waits for its model; converted_percent: how far its conversion is, 0 where it has one."""

    converted_percent: int


AnswerDelayed = AnswerQueued | AnswerLoading
"""Why an answer has not begun yet."""


@dataclass(frozen=True, kw_only=True)
class AnswerPiece:
    """The next words of an answer.

    logprobs: of the tokens that came with them, where the question wanted that; the text may be empty then.
    """

    text: str
    answerer: Answerer
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AnswerPart:
    """The tokens of an answer that one of several nodes gave; from_token counts from 0."""

    node_id: str
    node_name: str
    from_token: int
    tokens: int


@dataclass(frozen=True, kw_only=True)
class AnswerFinished:
    """The end of an answer: why it ended (stop, length) and what it took.

    answerer: who gave its beginning; parts: who gave which tokens, where it was more than one node.  prefill_s and
    decode_s: how long the engine read and wrote, and cached_tokens how many of the prompt it had read before: the last
    one's where there were several.
    """

    answerer: Answerer
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    ttft_ms: float
    tokens_per_s: float
    prefill_s: float = 0.0
    decode_s: float = 0.0
    cached_tokens: int = 0
    parts: tuple[AnswerPart, ...] = ()

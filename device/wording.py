"""How figures are said to people, in the command and in the TUI alike."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device.api import AnswerDelayed, AnswerFinished, ApiKey
    from device.api_of_council import Council, Motion
    from device.api_of_models import Model, PullProgress

SHORT_ID_CHARACTERS = 8
_UNITS = ("B", "kB", "MB", "GB", "TB")
_IN_BYTES = ("download", "fetch", "verify", "install", "import", "export")
_AT_A_RATE = ("download", "fetch", "import", "export", "verify")
_RATE_AFTER_S = 0.5  # before that a rate is noise
_ALL = 100  # per cent
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def short_id(node_id: str) -> str:
    """The first characters of a node's id or a digest: enough to tell them apart and to type."""
    return node_id[:SHORT_ID_CHARACTERS]


def named(name: str, node_id: str) -> str:
    """A node, where several may have the same name: `ember (gknbzabw)`."""
    return f"{name} ({short_id(node_id)})"


def size(count: float) -> str:
    """A number of bytes in decimal units, three figures at most: `98.1 MB`."""
    for unit in _UNITS[:-1]:
        if abs(count) < 999.5:  # noqa: PLR2004  what rounds to 1000 belongs to the next unit
            return f"{count:.0f} {unit}" if unit in ("B", "kB") or count >= 99.95 else f"{count:.1f} {unit}"  # noqa: PLR2004  three figures
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"


def readiness(model: "Model") -> str:
    """How far a model is from answering: `loaded`, `loading`, `converting 40 %`; nothing where nobody has asked it."""
    if model.loading:
        return _coming(model.converted_percent)
    return "loaded" if model.loaded else ""


def state(model: "Model") -> str:
    """What else there is to say of a model: `damaged`, its readiness, `pinned`."""
    said = ["damaged" if model.damaged else readiness(model), "pinned" if model.pinned else ""]
    return ", ".join(filter(None, said))


def last_used(model: "Model") -> str:
    """`2 h 5 min ago`, counting the node's running time; `never` before a model has answered."""
    return "never" if model.used_ago_s is None else f"{duration(model.used_ago_s)} ago"


def delay(delayed: "AnswerDelayed") -> str:
    """Why an answer has not begun: `place 3 in the queue`, `the model: loading`, `the model: converting 40 %`."""
    from device.api import AnswerQueued  # noqa: PLC0415  `--help` has no use for it

    if isinstance(delayed, AnswerQueued):
        return f"place {delayed.place} in the queue"
    return f"the model: {_coming(delayed.converted_percent)}"


def _coming(converted_percent: int) -> str:
    return f"converting {converted_percent} %" if 0 < converted_percent < _ALL else "loading"


def duration(seconds: float) -> str:
    """A span of time in its two largest units: `2 h 14 min`."""
    total = max(0, int(seconds))
    if total < _MINUTE_S:
        return f"{total} s"
    if total < _HOUR_S:
        return f"{total // _MINUTE_S} min"
    if total < _DAY_S:
        return f"{total // _HOUR_S} h {total % _HOUR_S // _MINUTE_S} min"
    return f"{total // _DAY_S} d {total % _DAY_S // _HOUR_S} h"


def path(hops: int) -> str:
    """How messages get there: `direct`, `2 hops`, or `-` when they do not."""
    return {0: "-", 1: "direct"}.get(hops) or count(hops, "hop")


def fingerprint_lines(fingerprint: str) -> tuple[str, str]:
    """A SHA-256 fingerprint of pairs with colons, in two lines that fit a terminal."""
    pairs = fingerprint.split(":")
    half = len(pairs) // 2
    return ":".join(pairs[:half]) + ":", ":".join(pairs[half:])


def count(number: int, one: str, many: str = "") -> str:
    """`1 member`, `3 members`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def deciding(voters: int, quorum: int) -> str:
    """`3 voters: all must agree`, `5 voters: 4 must agree`."""
    if voters == 1:
        return "1 voter, who decides alone"
    return f"{voters} voters: {'all' if quorum == voters else quorum} must agree"


def motion_progress(one: "Motion", council: "Council") -> str:
    """`2 of 3 agree, waiting for Cleo`."""
    waiting = f", waiting for {' and '.join(one.waiting)}" if one.waiting else ""
    notice = f", seen by {count(one.seen, 'voter')} of {council.notice}" if one.seen < council.notice else ""
    return f"{len(one.agreed)} of {council.quorum} agree{waiting}{notice}"


def rules(council: "Council") -> str:
    """By which rules a community decides, and how they are changed."""
    notice = f", {council.notice} must have seen it first" if council.notice else ""
    left = f" ({council.invitations_left} left here)" if council.votes else ""
    return (
        f"{council.quorum} must agree{notice} (margin {council.margin}, notice {council.notice});"
        f" {count(council.invitations, 'invitation')} a chosen voter{left}. Other rules: hearth propose rules --help"
    )


def fixed(council: "Council") -> str:
    """`57 entries fixed by 2 decisions, signed by Anna, Ben`."""
    by = f", signed by {', '.join(council.fixed.signed)}" if council.fixed.signed else ""
    return f"{count(council.fixed.entries, 'entry', 'entries')} fixed by {count(council.decided, 'decision')}{by}"


def amount(answers: int, tokens: int, model_bytes: int) -> str:
    """`12 answers of 3456 tokens and 98.1 MB of models`, as much of it as there is."""
    said = [f"{count(answers, 'answer')} of {count(tokens, 'token')}"] if answers or tokens else []
    said += [f"{size(model_bytes)} of models"] if model_bytes else []
    return " and ".join(said) or "nothing"


def speed(tokens_per_s: float) -> str:
    """`31 tokens/s`; a slow one with a decimal."""
    return f"{tokens_per_s:.0f} tokens/s" if tokens_per_s >= 9.95 else f"{tokens_per_s:.1f} tokens/s"  # noqa: PLR2004  two figures


def answered_by(finished: "AnswerFinished", *, one: str = "") -> str:
    """`ember (gknbzabw) with smollm2-135m`, or `…, then workshop (mq7wz4td) from token 57, with smollm2-135m`.

    one: what to call a node that gave the whole answer.
    """
    by = finished.answerer
    if not finished.parts:
        return f"{one or named(by.node_name, by.node_id)} with {by.model}"
    first, *later = finished.parts
    names = [named(first.node_name, first.node_id)]
    names += [f"then {named(part.node_name, part.node_id)} from token {part.from_token}" for part in later]
    return f"{', '.join(names)}, with {by.model}"


def limits(per_minute: int, per_day: int) -> str:
    """`6 questions a minute and 50000 tokens a day`, or `without limit`."""
    parts = [count(per_minute, "question") + " a minute"] if per_minute else []
    parts += [f"{per_day} tokens a day"] if per_day else []
    return " and ".join(parts) or "without limit"


def budget(key: "ApiKey") -> str:
    """What a key may, and what is left of it: `6 questions a minute and 1000 tokens a day, 880 left for 23 h 1 min`."""
    allowed = limits(key.per_minute, key.per_day)
    if key.tokens_left is None or key.renews_in_s is None or key.tokens_left == key.per_day:
        return allowed
    return f"{allowed}, {key.tokens_left} left for {duration(key.renews_in_s)}"


class Pace:
    """Measures how fast bytes come or go, in a pull's stages that take long."""

    def __init__(self) -> None:
        self._stage = ""
        self._began_at = 0.0
        self._began_done = 0

    def rate(self, progress: "PullProgress", *, now: float) -> float | None:
        """Bytes a second since the download began or went on; None while that says nothing.  `now` is monotonic."""
        if progress.bytes_per_s:
            return progress.bytes_per_s
        if progress.stage != self._stage:
            self._stage, self._began_at, self._began_done = progress.stage, now, progress.done
        elapsed = now - self._began_at
        if progress.stage not in _AT_A_RATE or elapsed < _RATE_AFTER_S:
            return None
        return (progress.done - self._began_done) / elapsed


def share(progress: "PullProgress") -> float:
    """How much of its stage is done, 0 to 1."""
    return min(1.0, max(0.0, progress.done / progress.total)) if progress.total > 0 else 0.0


def pull_figures(progress: "PullProgress", rate: float | None) -> str:
    """`41 %  40.0 MB of 98.1 MB  12.3 MB/s  5 s left  from 2 neighbours`, as much of it as is known."""
    if progress.total <= 0:
        return ""
    parts = [f"{share(progress) * 100:3.0f} %"]
    if progress.stage in _IN_BYTES:
        parts.append(f"{size(progress.done)} of {size(progress.total)}")
    if rate:
        parts += [f"{size(rate)}/s", f"{duration((progress.total - progress.done) / rate)} left"]
    if progress.stage == "fetch":
        neighbours = count(progress.sources, "neighbour")
        parts.append(f"from {neighbours}" if progress.sources else "no neighbour gives it now")
    return "  ".join(parts)

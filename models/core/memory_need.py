"""How much memory a model will need, and how much there is: said before it is loaded, not by the kernel afterwards.

What a process needs is the weights (mapped ones are the kernel's to drop, but each token reads all of them: without
room for them the board reads its card instead of answering), keys and values, activations, and the engine itself.
The factors were measured (docs/adr/0020) and err on the high side by up to a fifth.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from models.core.meminfo import available_bytes as board_available_bytes
from models.errors import NotEnoughMemoryError

ENGINE_BYTES: Final = 32_000_000  # of libraries and session, besides what the process has when it asks
TOKEN_OF_VOCABULARY_BYTES: Final = 400  # its texts, its merges, the tables made of them
ACTIVATIONS: Final = 8  # arrays of a width and a feed-forward width, for each token of a chunk
FLOAT_BYTES: Final = 4
CONTEXT_STEP: Final = 16  # contexts are proposed in round figures
BOARD_PART: Final = 0.25  # of the board's memory that keys and values may come to fill, where nobody chose a context
LEAST_CONTEXT: Final = 512  # that nobody chose: rather fewer sequences at a time, as long as there are several
PROMPT_GRAPH: Final = 1.75  # of its weights must be free for the graph for prompts: it maps them, and computes
BESIDE_PROMPT_GRAPH: Final = 2048  # tokens for each sequence: below that, room for it is not worth a shorter context


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a model is loaded with: so many sequences at a time, of so many tokens each."""

    context_tokens: int
    slots: int


@dataclass(frozen=True, kw_only=True)
class MemoryNeed:
    """What a model needs, by what it depends on."""

    weights_bytes: int
    fixed_bytes: int
    token_bytes: int  # keys and values of one token of one sequence
    most_tokens: int  # that the model was made for: its context is no larger, whatever is asked for
    prompt_graph_bytes: int = 0  # to open the graph for prompts; a model answers without it, only later

    @classmethod
    def of(
        cls,
        *,
        weights_bytes: int,
        layers: int,
        kv_width: int,
        kv_bytes: int,
        width: int,
        feed_forward: int,
        vocabulary: int,
        chunk_tokens: int,
        most_tokens: int,
        prompt_weights_bytes: int = 0,
    ) -> "MemoryNeed":
        """Reckon from dimensions; `weights_bytes` as they lie in memory, `chunk_tokens` are computed at a time.

        kv_bytes: of each number of the key-value cache; prompt_weights_bytes: of the graph for prompts, where there is
        one.
        """
        activations = ACTIVATIONS * FLOAT_BYTES * chunk_tokens * (width + feed_forward)
        return cls(
            weights_bytes=weights_bytes,
            fixed_bytes=ENGINE_BYTES + TOKEN_OF_VOCABULARY_BYTES * vocabulary + activations,
            token_bytes=2 * layers * kv_width * kv_bytes,
            most_tokens=most_tokens,
            prompt_graph_bytes=int(PROMPT_GRAPH * prompt_weights_bytes),
        )

    def bytes_for(self, context_tokens: int) -> int:
        """Give what is needed for one sequence of so many tokens."""
        return self.weights_bytes + self.fixed_bytes + context_tokens * self.token_bytes

    def context_that_fits(self, free_bytes: int) -> int:
        """Give the largest context for which that is enough, in steps of CONTEXT_STEP; 0 = none."""
        tokens = max(0, free_bytes - self.bytes_for(0)) // self.token_bytes
        return tokens // CONTEXT_STEP * CONTEXT_STEP

    def sequences_that_fit(self, context_tokens: int, free_bytes: int) -> int:
        """Give how many sequences of so many tokens that is enough for; 0 = not even one."""
        tokens = min(context_tokens, self.most_tokens)
        return max(0, free_bytes - self.bytes_for(0)) // (tokens * self.token_bytes)

    def room(
        self, *, context_tokens: int, slots: int, prefix_bytes: int, board_bytes: int, free_bytes: int | None
    ) -> Room:
        """Decide how many sequences of what length there can be; the only place that does.

        A context that was chosen is given or refused, with fewer slots where they do not all fit.  0 is what the model
        knows, as far as a part of the board's memory and what is free of it reach; the graph for prompts is left room
        where that does not make it short.  prefix_bytes: kept free besides; free_bytes: None where nobody says.
        Raises NotEnoughMemoryError where not one sequence fits.
        """
        tokens = context_tokens or self._affordable(slots, prefix_bytes, board_bytes, free_bytes)
        tokens = min(tokens, self.most_tokens)
        if free_bytes is None:
            return Room(context_tokens=tokens, slots=slots)
        self.require(context_tokens=tokens, free_bytes=free_bytes)
        fitting = self.sequences_that_fit(tokens, free_bytes - prefix_bytes)
        return Room(context_tokens=tokens, slots=min(slots, max(1, fitting)))

    def _affordable(self, slots: int, prefix_bytes: int, board_bytes: int, free_bytes: int | None) -> int:
        share = int(board_bytes * BOARD_PART) // (slots * self.token_bytes)
        if free_bytes is None:
            return max(LEAST_CONTEXT, share)
        left = free_bytes - prefix_bytes - self.bytes_for(0)
        beside_graph = (left - self.prompt_graph_bytes) // (slots * self.token_bytes)
        roomy = beside_graph >= min(BESIDE_PROMPT_GRAPH, self.most_tokens)
        share = min(share, beside_graph if roomy else left // (slots * self.token_bytes))
        return min(max(LEAST_CONTEXT, share), self.context_that_fits(free_bytes) or CONTEXT_STEP)

    def require(self, *, context_tokens: int, free_bytes: int) -> None:
        """Refuse what will not fit.  Raises NotEnoughMemoryError, which names the context that would."""
        tokens = min(context_tokens, self.most_tokens)
        needed = self.bytes_for(tokens)
        if needed > free_bytes:
            raise NotEnoughMemoryError(needed, free_bytes, tokens, self.context_that_fits(free_bytes))


@dataclass(frozen=True, kw_only=True)
class Group:
    """What a control group says of its memory: its limit, what is used of it, and how much of that is cached files."""

    limit_bytes: int
    used_bytes: int
    cached_bytes: int

    @property
    def free_bytes(self) -> int:
        """What may still be used; cached files give way."""
        return max(0, self.limit_bytes - max(0, self.used_bytes - self.cached_bytes))


def parse_group(limit: str, used: str, statistics: str) -> Group | None:
    """Read memory.max or memory.limit_in_bytes, the usage and memory.stat; None where there is no limit.

    Source: the kernel's cgroup-v2.rst and cgroup-v1/memory.rst, where `total_` counts the groups below too.
    """
    if not (limit.strip().isdecimal() and used.strip().isdecimal()):
        return None  # `max`
    found = dict(re.findall(r"^((?:total_)?(?:in)?active_file) (\d+)$", statistics, re.MULTILINE))
    prefix = "total_" if "total_active_file" in found else ""
    cached = sum(int(found.get(f"{prefix}{name}", 0)) for name in ("active_file", "inactive_file"))
    return Group(limit_bytes=int(limit), used_bytes=int(used), cached_bytes=cached)


def available_bytes(meminfo: str, groups: Iterable[Group]) -> int | None:
    """Give what a process can still use, by /proc/meminfo and the groups it is in; None where nobody says."""
    board = board_available_bytes(meminfo)
    return min([group.free_bytes for group in groups] + ([] if board is None else [board]), default=None)

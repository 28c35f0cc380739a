"""SentencePiece's way of cutting a text: the neighbours that make the best token are joined, again and again.

A text begins as its letters.  Of all pairs of neighbours that make a token, the one whose token has the highest score
is joined first, the leftmost of equals; letters that are no token are left.  Source: llama.cpp, llm_tokenizer_spm.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence

NONE = -1


def pieces(text: str, ids: Mapping[str, int], scores: Sequence[float]) -> Iterator[str]:
    """Yield a text in pieces, each of them a token, or a letter that is none.

    ids: of tokens, by what they are written as; scores: by id.
    """
    lengths = [1] * len(text)  # of the piece that begins there; 0: it was joined to another
    before, after = [*range(-1, len(text) - 1)], [*range(1, len(text)), NONE]
    queue: list[tuple[float, int, int, int]] = []  # score, the less the better; beginnings of both; length of both

    def consider(left: int, right: int) -> None:
        if NONE in (left, right):
            return
        length = lengths[left] + lengths[right]
        token = ids.get(text[left : left + length])
        if token is not None:
            heapq.heappush(queue, (-scores[token], left, right, length))

    for left in range(len(text) - 1):
        consider(left, left + 1)
    while queue:
        _, left, right, length = heapq.heappop(queue)
        if not lengths[left] or not lengths[right] or lengths[left] + lengths[right] != length:
            continue  # one of them was joined to another meanwhile
        lengths[left], lengths[right] = length, 0
        after[left] = after[right]
        if after[left] != NONE:
            before[after[left]] = left
        consider(before[left], left)
        consider(left, after[left])
    start = 0 if text else NONE
    while start != NONE:
        yield text[start : start + lengths[start]]
        start = after[start]

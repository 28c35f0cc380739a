"""Child of the benchmark: llama.cpp through its own low-level interface, several answers in one batch.

Run by the interpreter of `native_build`, as a file: it imports nothing of the repository.  A question is a line on
standard input, {"prompts": [[id…]…], "tokens": n, "keep": k}; what it took, one on standard output behind "measured ".
Answers are greedy and of `tokens` tokens each; `keep` tokens of one prompt are still there from the question before.
"""

import json
import sys
import time
from collections.abc import Sequence

import llama_cpp
import numpy as np

BATCH_TOKENS = 512
ONE_TOKENS = 1024  # room of a single answer with its prompt
EACH_TOKENS = 256  # the same for each of several


class Context:
    """Room for so many answers at once."""

    def __init__(self, model: object, *, sequences: int, threads: int) -> None:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = ONE_TOKENS if sequences == 1 else EACH_TOKENS * sequences
        params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(model, params)
        if not self._context:
            raise SystemExit("llama.cpp makes no context")
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)

    def answer(self, prompts: Sequence[Sequence[int]], tokens: int, keep: int) -> dict[str, float]:
        """Answer all prompts at once."""
        started = time.perf_counter()
        if keep:
            llama_cpp.llama_memory_seq_rm(self._memory, 0, keep, -1)
        else:
            llama_cpp.llama_memory_clear(self._memory, False)
        last = self._prefill(prompts, keep)
        first = time.perf_counter()
        for step in range(tokens - 1):
            last = self._run([(last[i], len(ids) + step, i, True) for i, ids in enumerate(prompts)])
        ended = time.perf_counter()
        return {"first_s": first - started, "whole_s": ended - started, "tokens": tokens * len(prompts)}

    def _prefill(self, prompts: Sequence[Sequence[int]], keep: int) -> list[int]:
        rows = [
            (token, position, sequence, position == len(ids) - 1)
            for sequence, ids in enumerate(prompts)
            for position, token in enumerate(ids)
            if position >= keep
        ]
        chosen = []
        for start in range(0, len(rows), BATCH_TOKENS):
            chosen += self._run(rows[start : start + BATCH_TOKENS])
        return chosen

    def _run(self, rows: Sequence[tuple[int, int, int, bool]]) -> list[int]:
        """Compute (token, position, sequence, wanted) rows; return the likeliest token after each wanted one."""
        batch = self._batch
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        if llama_cpp.llama_decode(self._context, batch) != 0:
            raise SystemExit("llama.cpp does not compute")
        return [self._likeliest(i) for i, row in enumerate(rows) if row[3]]

    def _likeliest(self, row: int) -> int:
        logits = llama_cpp.llama_get_logits_ith(self._context, row)
        return int(np.ctypeslib.as_array(logits, (self._vocabulary,)).argmax())


def main(path: str, threads: int) -> None:
    """Load a model and answer until standard input ends."""
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    if not model:
        raise SystemExit("llama.cpp does not load it")
    contexts: dict[int, Context] = {}
    for line in sys.stdin:
        question = json.loads(line)
        sequences = len(question["prompts"])
        if sequences not in contexts:
            contexts[sequences] = Context(model, sequences=sequences, threads=threads)
        timing = contexts[sequences].answer(question["prompts"], question["tokens"], question["keep"])
        sys.stdout.write(f"measured {json.dumps(timing)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""Child of the benchmark: llama.cpp as the package index has it ready (xllamacpp), built for no machine in particular.

The same lines as `llama_cpp_native`, one prompt at a time.
"""

import json
import sys
from pathlib import Path

from tests.models.llama_cpp import LlamaCpp

CONTEXT_TOKENS = 1024


def main(path: str, threads: int) -> None:
    """Load a model and answer until standard input ends."""
    with LlamaCpp(Path(path), threads=threads, context_tokens=CONTEXT_TOKENS) as llama_cpp:
        for line in sys.stdin:
            question = json.loads(line)
            (prompt,) = question["prompts"]
            reply = llama_cpp.complete(prompt, n_predict=question["tokens"], cache_prompt=False, ignore_eos=True)
            times = reply["timings"]
            first_s = times["prompt_ms"] / 1000
            timing = {
                "first_s": first_s,
                "whole_s": first_s + times["predicted_ms"] / 1000,
                "tokens": times["predicted_n"],
            }
            sys.stdout.write(f"measured {json.dumps(timing)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

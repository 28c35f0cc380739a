"""llama.cpp, through the prebuilt `xllamacpp`, as an oracle: its ids, and its logits one position at a time."""

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import xllamacpp

FORCED = 1e9  # a bias that beats every logit


@dataclass(frozen=True)
class Prediction:
    """What llama.cpp thinks of one position: its favourite, and the log-probability of the token that came."""

    favourite: int
    logprob: float


class LlamaCpp:
    """llama.cpp's server inside this process, on a free port of the loopback."""

    def __init__(self, model: Path, *, threads: int = 2, context_tokens: int = 2048, slots: int = 1) -> None:
        """slots: how many answers it makes at once; they share the context."""
        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.n_ctx = context_tokens
        params.n_parallel = slots
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
        params.swa_full = True  # else it reads every prompt anew where a layer has a window
        params.cache_ram_mib = 0
        params.n_ctx_checkpoints = 0
        self._server = xllamacpp.Server(params)

    def __enter__(self) -> Self:
        """Return the running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it: it ends with its last reference."""
        del self._server

    @property
    def address(self) -> str:
        """Where its own HTTP server listens."""
        return str(self._server.listening_address)

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Ids of a text, without a token that begins every text."""
        request = urllib.request.Request(  # noqa: S310  the address is our own server's
            f"{self._server.listening_address}/tokenize",
            json.dumps({"content": text, "add_special": False, "parse_special": special}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310  as above
            ids: list[int] = json.load(reply)["tokens"]
        return ids

    def complete(self, ids: Sequence[int], **options: object) -> dict[str, Any]:
        """Continue ids greedily; llama.cpp's own reply with its timings."""
        reply: dict[str, Any] = self._server.handle_completions({"prompt": list(ids), "temperature": 0.0, **options})
        return reply

    def predict(self, before: Sequence[int], token: int) -> Prediction:
        """Ask for the token after `before` while forcing `token`.

        The log-probabilities that the server reports are those of the model, taken before the bias: so one
        request tells both the favourite and how likely the forced token was. Earlier tokens stay in its cache.
        """
        reply = self.complete(
            before,
            n_predict=1,
            n_probs=1,
            logit_bias=[[token, FORCED]],
            cache_prompt=True,
            ignore_eos=False,
            samplers=["temperature"],
        )
        (position,) = reply["choices"][0]["logprobs"]["content"]
        if position["id"] != token:
            message = f"llama.cpp chose {position['id']}, not {token}"
            raise AssertionError(message)
        return Prediction(favourite=position["top_logprobs"][0]["id"], logprob=position["logprob"])

    def predictions(self, ids: Sequence[int]) -> list[Prediction]:
        """Ask for each token after the first."""
        return [self.predict(ids[:position], ids[position]) for position in range(1, len(ids))]

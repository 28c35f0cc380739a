"""From a conversation to an answer: template, tokens, prefill, decode, sampling, stop strings."""

import random
import time
from collections.abc import Callable, Iterator
from collections.abc import Generator as Iteration

import numpy as np

from models.core.request import (
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    SamplingParams,
    TokensGenerated,
)
from models.core.sampling import choose, penalized
from models.core.stops import StopScanner
from models.engine import PREFILL_CHUNK, Engine, FloatArray
from models.errors import CorruptModelError, EngineError, InvalidRequestError, PromptTooLongError
from models.templates import ChatTemplate
from models.tokenizer import Tokenizer


class Generator:
    """Answers conversations one after the other with one engine."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer, template: ChatTemplate) -> None:
        if tokenizer.size != engine.info.vocabulary:
            raise CorruptModelError(
                f"the vocabulary has {tokenizer.size} tokens, the embedding {engine.info.vocabulary} rows"
            )
        self._engine = engine
        self._tokenizer = tokenizer
        self._template = template

    def prompt(self, request: GenerationRequest) -> list[int]:
        """Turn the conversation into ids; a message cannot speak in control tokens.

        Raises PromptTooLongError, InvalidTemplateError, InvalidRequestError for a conversation without any tokens.
        """
        messages = [
            {"role": message.role, "content": self._tokenizer.quote(message.content)} for message in request.messages
        ]
        ids = self._tokenizer.encode_prompt(self._template.render(messages))
        if not ids:
            raise InvalidRequestError("the conversation has no words")
        if len(ids) > self._engine.context_tokens:
            raise PromptTooLongError(len(ids), self._engine.context_tokens)
        return ids

    def generate(
        self, request: GenerationRequest, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[GenerationEvent]:
        """Yield tokens as they come, then GenerationFinished.

        `cancelled` is asked between tokens and between chunks of the prompt. The same request gives the same answer
        whatever was answered before. Raises what `prompt` raises before the first event, EngineError at any time.
        """
        ids = self.prompt(request)
        started = time.perf_counter()
        logits = self._prefill(ids, cancelled)
        prefilled = time.perf_counter()
        generated = 0
        reason: FinishReason = "cancelled"
        if logits is not None:
            generated, reason = yield from self._decode(ids, logits, request.sampling, cancelled)
        yield GenerationFinished(
            reason=reason,
            prompt_tokens=len(ids),
            completion_tokens=generated,
            prefill_s=prefilled - started,
            decode_s=time.perf_counter() - prefilled,
        )

    def _prefill(self, ids: list[int], cancelled: Callable[[], bool]) -> FloatArray | None:
        """Compute the prompt and return its last logits; None where it was cancelled."""
        self._engine.reset()
        logits: FloatArray | None = None
        for start in range(0, len(ids), PREFILL_CHUNK):
            if cancelled():
                return None
            logits = self._engine.prefill(ids[start : start + PREFILL_CHUNK])
        return logits

    def _decode(
        self, ids: list[int], logits: FloatArray, sampling: SamplingParams, cancelled: Callable[[], bool]
    ) -> Iteration[TokensGenerated, None, tuple[int, FinishReason]]:
        """Yield an event for each token and one for text held back; return the number of tokens and why it ended."""
        stream, stops = self._tokenizer.stream(), StopScanner(sampling.stop)
        draws = random.Random(sampling.seed)  # noqa: S311  a seed is for answers that can be repeated
        history = list(ids)
        # The last token of an answer needs no room: nothing is computed from it.
        end = min(len(ids) + sampling.max_tokens, self._engine.context_tokens + 1)
        reason: FinishReason = "length"
        while len(history) < end:
            if cancelled():
                reason = "cancelled"
                break
            if len(history) > len(ids):
                logits = self._engine.decode(history[-1])
            token = _sample(logits, history, sampling, draws.random())
            if token in self._tokenizer.eos_ids:
                reason = "stop"
                break
            history.append(token)
            yield TokensGenerated((token,), stops.feed(stream.feed(token)))
            if stops.stopped:
                reason = "stop"
                break
        if tail := stops.feed(stream.finish()) + stops.finish():
            yield TokensGenerated((), tail)
        return len(history) - len(ids), reason


def _sample(logits: FloatArray, history: list[int], sampling: SamplingParams, uniform: float) -> int:
    if not np.isfinite(logits).all():
        raise EngineError("the model computed something that is no number")
    return choose(
        penalized(logits, history, penalty=sampling.repetition_penalty),
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        uniform=uniform,
    )

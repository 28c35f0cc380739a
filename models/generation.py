"""From a conversation to an answer: template, tokens, sampling, stop strings; what computes is somebody else's.

An answer that another engine began is gone on with: its tokens are computed together with the prompt, and the draws,
the penalties, the grammar, the stop strings and the text see both parts as one.
"""

import time
from collections.abc import Generator as Iteration
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from models.core.drafting import Drafter
from models.core.grammars import answer_grammar
from models.core.request import (
    MAX_TOKEN_BYTES,
    MIN_LOGPROB,
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    SamplingParams,
    TokenLogprob,
    TokensGenerated,
)
from models.core.sampling import (
    Allowed,
    FloatArray,
    choose,
    discouraged,
    log_probabilities,
    penalized,
    uniform_draw,
)
from models.core.stops import StopScanner
from models.core.tool_messages import for_template, in_words, offered_tools
from models.errors import EngineError, InvalidRequestError, NoTemplateError, PromptTooLongError
from models.templates import ChatTemplate
from models.tokenizer import Tokenizer

if TYPE_CHECKING:
    from models.constraints import Constraints, Matcher

PIECE_CHARACTERS = 4096  # of text that is given out at once; what tokens add is far less


@dataclass(frozen=True)
class Compute:
    """Tokens to be appended to the sequence, once the last `forget` of it have been dropped.

    The answer goes on with the logits of the last one, (1, vocabulary).  draft: guesses of what follows, which may be
    appended too: then with those of each guess behind it, (1 + guesses, vocabulary).
    """

    tokens: tuple[int, ...]
    draft: tuple[int, ...] = ()
    forget: int = 0


Answering = Iteration[Compute | GenerationEvent, FloatArray | None, None]


class Generator:
    """Makes the answers of one model, step by step; whoever runs the steps computes.

    context_tokens: of prompt and answer together.  template: None for a model that only completes texts.  guesses:
    whether what an answer repeats may be computed several tokens at a time.
    """

    def __init__(
        self, tokenizer: Tokenizer, template: ChatTemplate | None, *, context_tokens: int, guesses: bool = True
    ) -> None:
        self._guesses = guesses
        self._context_tokens = context_tokens
        self._tokenizer = tokenizer
        self._template = template
        self._constraints: Constraints | None = None  # made when first asked for

    @property
    def vocabulary(self) -> int:
        """How many tokens the model's words are made of."""
        return self._tokenizer.size

    def prompt(self, request: GenerationRequest) -> list[int]:
        """Turn the conversation, or the text to complete, into ids; neither can speak in control tokens.

        Raises PromptTooLongError, InvalidTemplateError, InvalidRequestError for a question without any tokens.
        """
        if request.prompt is None:
            ids = self._tokenizer.encode_prompt(self._rendered(request))
        else:
            ids = self._tokenizer.encode_text(request.prompt)
        if not ids:
            raise InvalidRequestError("prompt: no words" if request.messages == () else "messages: no words")
        if len(ids) > self._context_tokens:
            raise PromptTooLongError(len(ids), self._context_tokens)
        return ids

    def _rendered(self, request: GenerationRequest) -> str:
        if self._template is None:
            raise NoTemplateError("a model without a chat template is no chat model; it only completes texts")
        quote = self._tokenizer.quote
        tools = offered_tools(request, quote)
        if self._template.knows_tools:
            return self._template.render(for_template(request.messages, quote), tools=tools)
        return self._template.render(in_words(request.messages, tools, quote))

    def answer(self, request: GenerationRequest) -> Answering:
        """Yield what has to be computed and, as they come, tokens; GenerationFinished at the end.

        Each Compute is answered with the logits of its last token, or with None to have the answer end there.  What was
        answered before and is answered beside it makes no difference.  Raises what `prompt` raises, and
        InvalidRequestError for a begun answer that this model cannot have given, before the first event; EngineError
        for logits that are no numbers.
        """
        ids = self.prompt(request)
        answer = self._begun(request, len(ids), self._matcher(request))
        started = time.perf_counter()
        ended = answer.ended
        logits = None if ended else (yield Compute((*ids, *answer.ids)))
        read = time.perf_counter()
        if logits is not None:
            ended = yield from self._written(ids, answer, logits, request)
        yield from answer.rest()
        yield GenerationFinished(
            reason=ended or "cancelled",
            prompt_tokens=len(ids),
            completion_tokens=len(answer.ids),
            prefill_s=read - started,
            decode_s=time.perf_counter() - read,
        )

    def _matcher(self, request: GenerationRequest) -> "Matcher | None":
        """Compile what the answer must fit; None where that is anything."""
        in_tags = self._template is None or self._template.writes_tool_call_tags
        grammar = answer_grammar(request, in_tags=in_tags)
        if grammar is None:
            return None
        if self._constraints is None:
            from models.constraints import Constraints  # noqa: PLC0415  its library costs memory that few questions need

            self._constraints = Constraints(self._tokenizer)
        return self._constraints.matcher(grammar, of="tools" if request.schema is None else "schema")

    def _begun(self, request: GenerationRequest, prompt_tokens: int, matcher: "Matcher | None") -> "_Answer":
        """Take up the part of the answer that is there."""
        if not all(token < self._tokenizer.size and token not in self._tokenizer.eos_ids for token in request.answered):
            raise InvalidRequestError("answered: tokens that this model does not give")
        if request.characters > len(self._tokenizer.decode(request.answered)):
            raise InvalidRequestError("characters: more than the answer's tokens have")
        # The last token of an answer needs no room: nothing is computed from it.
        room = self._context_tokens + 1 - prompt_tokens
        if len(request.answered) > room:
            raise PromptTooLongError(prompt_tokens + len(request.answered), self._context_tokens)
        text = _AnswerText(self._tokenizer, request.sampling.stop, request.characters)
        answer = _Answer(text, matcher, most=min(request.sampling.max_tokens, room))
        for token in request.answered:
            answer.add(token)
        return answer

    def _written(
        self, ids: list[int], answer: "_Answer", logits: FloatArray, request: GenerationRequest
    ) -> Iteration[Compute | GenerationEvent, FloatArray | None, FinishReason | None]:
        """Yield an event for each further token; return why the answer ended, None where it was to end there."""
        history = [*ids, *answer.ids]
        ahead = _Ahead(logits, len(history), guesses=self._guesses)
        while True:
            allowed = answer.allowed()
            if allowed is not None and not allowed.any():
                return "stop"  # it is complete, and the model has no token to say so
            # What a grammar leaves no choice about is computed with what follows it, all at once.
            token = _only(allowed) if request.logprobs is None else None
            if token is None:
                wanted = ahead.wanted(history, room=answer.room - 1)
                if wanted is not None:
                    news = yield wanted
                    if news is None:
                        return None
                    ahead.computed(news, history)
                token = _sample(ahead.logits, history, answer, request.sampling, allowed)
            if token in self._tokenizer.eos_ids:
                return "stop"
            event = TokensGenerated((token,), "", self._logprobs(ahead.logits, token, request.logprobs))
            history.append(token)
            answer.add(token)
            ahead.said(history)
            yield replace(event, text=answer.text.take())
            if answer.ended:
                return answer.ended

    def _logprobs(self, logits: FloatArray, token: int, alternatives: int | None) -> tuple[TokenLogprob, ...]:
        if alternatives is None:
            return ()
        (_, chosen), *top = [
            (self._tokenizer.spelling(index)[:MAX_TOKEN_BYTES], max(round(value, 6), MIN_LOGPROB) + 0.0)
            for index, value in log_probabilities(logits, token, alternatives=alternatives)
        ]
        return (TokenLogprob(self._tokenizer.spelling(token)[:MAX_TOKEN_BYTES], chosen, tuple(top)),)


class _Ahead:
    """What has been computed of a sequence, guesses of what will be said included.

    A guess that comes true is a token computed already; what follows one that does not is forgotten.
    """

    def __init__(self, logits: FloatArray, held: int, *, guesses: bool) -> None:
        self._rows, self._row = logits, 0
        self._held = held  # tokens of the sequence that are computed
        self._drafter = Drafter() if guesses else None
        self._guessed: tuple[int, ...] = ()
        self._forget = 0

    @property
    def logits(self) -> FloatArray:
        """Those behind the last computed token of the sequence: (vocabulary,)."""
        logits: FloatArray = self._rows[self._row]
        return logits

    def wanted(self, history: list[int], *, room: int) -> Compute | None:
        """Give what has to be computed before the next token can be chosen, guesses of at most `room` tokens with it.

        None where nothing has.
        """
        if self._held == len(history):
            return None
        draft = () if self._drafter is None else self._drafter.draft(history)[:room]
        wanted = Compute(tuple(history[self._held :]), draft, self._forget)
        self._guessed, self._forget = draft, 0
        return wanted

    def computed(self, rows: FloatArray, history: list[int]) -> None:
        """Take the logits of the last token that was wanted, and of each guess that was computed with it."""
        self._rows, self._row, self._held = rows, 0, len(history)
        self._guessed = self._guessed[: len(rows) - 1]

    def said(self, history: list[int]) -> None:
        """See whether the token that was chosen, the last of `history`, is the one that was guessed."""
        if self._row < len(self._guessed) and self._guessed[self._row] == history[-1]:
            self._row += 1
            self._held += 1
        else:
            self._judge(history)

    def _judge(self, history: list[int]) -> None:
        """Give up what is left of the guesses."""
        if self._guessed and self._drafter is not None:
            self._drafter.learn(history, len(self._guessed), self._row)
        self._forget += len(self._guessed) - self._row
        self._guessed = ()


class _Answer:
    """The tokens of an answer and its text.  matcher: what it must fit; most: how many tokens it may have."""

    def __init__(self, text: "_AnswerText", matcher: "Matcher | None", *, most: int) -> None:
        self.ids: list[int] = []
        self.text = text
        self._matcher = matcher
        self._most = most

    def add(self, token: int) -> None:
        """Append a token.  Raises InvalidRequestError for one that does not fit."""
        if self._matcher is not None and not self._matcher.add(token):
            raise InvalidRequestError("answered: tokens that do not fit what the answer must fit")
        self.ids.append(token)
        self.text.feed(token)

    def allowed(self) -> Allowed | None:
        """Tell which tokens may follow; None where any may.  Raises InvalidRequestError where none fits."""
        return None if self._matcher is None else self._matcher.allowed()

    @property
    def room(self) -> int:
        """How many tokens may follow at most."""
        return self._most - len(self.ids)

    @property
    def ended(self) -> FinishReason | None:
        """Why no token can follow; None while one can."""
        if self.text.stopped or (self._matcher is not None and self._matcher.ended):
            return "stop"
        return "length" if len(self.ids) >= self._most else None

    def rest(self) -> Iterator[TokensGenerated]:
        """Yield the text that was held back, now that no token follows."""
        self.text.finish()
        while piece := self.text.take():
            yield TokensGenerated((), piece)


class _AnswerText:
    """Text of an answer up to its stop string, but for the `characters` that the asker has."""

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...], characters: int) -> None:
        self._stream, self._stops = tokenizer.stream(), StopScanner(stop)
        self._characters_known = characters
        self._text = ""

    @property
    def stopped(self) -> bool:
        """Whether a stop string is complete."""
        return self._stops.stopped

    def feed(self, token: int) -> None:
        """Add what a token completes."""
        self._add(self._stops.feed(self._stream.feed(token)))

    def finish(self) -> None:
        """Add what was held back."""
        self._add(self._stops.feed(self._stream.finish()) + self._stops.finish())

    def take(self) -> str:
        """Take text that has not been taken, PIECE_CHARACTERS at most."""
        piece, self._text = self._text[:PIECE_CHARACTERS], self._text[PIECE_CHARACTERS:]
        return piece

    def _add(self, text: str) -> None:
        known = min(self._characters_known, len(text))
        self._characters_known -= known
        self._text += text[known:]


def _only(allowed: Allowed | None) -> int | None:
    """The one token that may come; None where there is a choice."""
    return int(np.argmax(allowed)) if allowed is not None and np.count_nonzero(allowed) == 1 else None


def _sample(
    logits: FloatArray, history: list[int], answer: _Answer, sampling: SamplingParams, allowed: Allowed | None
) -> int:
    if not np.isfinite(logits).all():
        raise EngineError("the model computed something that is no number")
    logits = penalized(logits, history, penalty=sampling.repetition_penalty)
    return choose(
        discouraged(logits, answer.ids, presence=sampling.presence_penalty, frequency=sampling.frequency_penalty),
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        uniform=uniform_draw(sampling.seed, len(answer.ids)),
        allowed=allowed,
    )

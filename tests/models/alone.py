"""A model that answers one question after the other, in this process."""

from collections.abc import Callable, Iterator

from models.batch import Batch
from models.core.request import GenerationEvent, GenerationRequest
from models.engine import Engine
from models.errors import ModelsError
from models.generation import Generator
from models.templates import ChatTemplate
from models.tokenizer import Tokenizer


class Alone:
    """An engine and what makes its answers."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer, template: ChatTemplate | None) -> None:
        self.engine, self.tokenizer, self.template = engine, tokenizer, template
        self.generator = Generator(tokenizer, template, context_tokens=engine.context_tokens)
        self.batch = Batch(engine, self.generator)

    def generate(
        self, request: GenerationRequest, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[GenerationEvent]:
        """Yield the events of an answer; `cancelled` is asked before each step.  Raises what it ends with."""
        self.batch.join(0, request)
        while self.batch.busy:
            if cancelled():
                yield from map(_raised, self.batch.cancel(0))
                return
            for _, event in self.batch.step():
                yield _raised(event)


def _raised(event: GenerationEvent | ModelsError) -> GenerationEvent:
    if isinstance(event, ModelsError):
        raise event
    return event

"""What the engines are asked: the same tokens for each."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.core.manifest import TEMPLATE
from models.core.request import Message
from models.core.tool_messages import in_words
from models.gguf import GgufFile
from models.store import ModelStore, StoredModel
from models.templates import ChatTemplate
from models.tokenizer import Tokenizer

TEXT = (Path(__file__).parents[1] / "models" / "text" / "prose.txt").read_text(encoding="utf-8")
WORD = re.compile(r"Ġ[a-z]{3,}")  # a space and letters, as a vocabulary spells them
WORDS = 2000


@dataclass(frozen=True)
class Prompt:
    """A text to complete or, in `messages`, a conversation to go on with; ids: what it is in tokens."""

    ids: tuple[int, ...]
    text: str | None = None
    messages: tuple[Message, ...] = ()


class Prompts:
    """Prompts for one model.  Words at random are no text, but cost what a text costs and repeat nothing."""

    def __init__(self, store: ModelStore, model: StoredModel) -> None:
        template = model.manifest.blob(TEMPLATE)
        with GgufFile.open(store.path(model.manifest.gguf)) as file:
            self._tokenizer = Tokenizer.from_gguf(file)
            names = [str(name) for name in file.metadata["tokenizer.ggml.tokens"]]  # type: ignore[union-attr]
            source = str(file.metadata["tokenizer.chat_template"])
        if template is not None:
            source = store.read(template).decode()
        tokenizer = self._tokenizer
        self._template = ChatTemplate(source, bos_token=tokenizer.bos_token, eos_token=tokenizer.eos_token)
        self._random = random.Random(0)  # noqa: S311  so that every run asks the same
        words = [f" {name[1:]}" for name in names if WORD.fullmatch(name)]
        self._random.shuffle(words)
        self._words = [word for word in words[:WORDS] if len(tokenizer.encode(word, special=False)) == 1]

    def words(self, tokens: int, *, after: Prompt | None = None) -> Prompt:
        """Return so many words at random, each one token, behind those of `after`."""
        before = (after and after.text) or ""
        text = before + "".join(self._random.choices(self._words, k=tokens))
        return Prompt(tuple(self._tokenizer.encode_text(text)), text=text)

    def conversation(self, question: str) -> Prompt:
        """Return a question as a chat asks it."""
        messages = (Message("user", question),)
        said = in_words(messages, (), self._tokenizer.quote)
        return Prompt(tuple(self._tokenizer.encode_prompt(self._template.render(said))), messages=messages)


def paragraphs() -> Iterator[str]:
    """Yield the paragraphs of a text that the models have not been made for."""
    yield from (paragraph for paragraph in TEXT.split("\n\n") if len(paragraph) > 200)

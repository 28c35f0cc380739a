"""Chat templates: a stranger's program, run in a sandbox with a budget of steps, memory and output."""

import json
import resource
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import loopcontrols
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from models.errors import InvalidTemplateError

MAX_SOURCE_CHARACTERS = 64 * 1024  # the longest in use have some 20,000
MAX_PROMPT_CHARACTERS = 2 * 1024 * 1024
MAX_STEPS = 100_000  # calls and turns of loops; a template takes a few for each message
MAX_FACTOR = 2**31  # of a multiplication: numbers that square themselves in a loop stay small
MAX_MEMORY_BYTES = 256 * 1024 * 1024  # that compiling or rendering may add to the process

# What a sandboxed template may still raise: arithmetic, wrong types, missing keys, nesting beyond the parser's stack.
FAILURES = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)


class ChatTemplate:
    """A compiled chat template in Hugging Face's dialect of Jinja.  Raises InvalidTemplateError.

    knows_tools: it has words for tools; writes_tool_call_tags: its model is to call them in <tool_call> tags.
    """

    def __init__(self, source: str, *, bos_token: str, eos_token: str) -> None:
        if len(source) > MAX_SOURCE_CHARACTERS:
            raise InvalidTemplateError(f"a chat template of {len(source)} characters, at most {MAX_SOURCE_CHARACTERS}")
        self.knows_tools = "tools" in source
        self.writes_tool_call_tags = not self.knows_tools or "<tool_call>" in source
        self._variables = {"bos_token": bos_token, "eos_token": eos_token, "documents": None}
        self._sandbox = _Sandbox()
        with _translated_failures():
            self._template = self._sandbox.compile_counting(source)

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        tools: Sequence[object] = (),
        add_generation_prompt: bool = True,
    ) -> str:
        """Write the conversation as the model was trained to read it.

        messages: mappings with `role` and `content`, perhaps `tool_calls` and `tool_call_id`; tools: descriptions of
        functions; both as Hugging Face's templates expect them (models/core/tool_messages.py).
        """
        self._sandbox.restart_budget()
        pieces: list[str] = []
        size = 0
        with _translated_failures():
            for piece in self._template.generate(
                messages=[dict(message) for message in messages],
                tools=list(tools) or None,
                add_generation_prompt=add_generation_prompt,
                **self._variables,
            ):
                size += len(piece)
                if size > MAX_PROMPT_CHARACTERS:
                    raise InvalidTemplateError(f"the chat template wrote more than {MAX_PROMPT_CHARACTERS} characters")
                pieces.append(piece)
        # A template can write half a surrogate pair, which no tokenizer takes.
        return "".join(pieces).encode(errors="replace").decode()


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, which keeps templates from touching Python, with a budget, which keeps them from going on."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        self._steps = 0
        self.filters |= {"counted": self._counted, "tojson": _to_json}
        self.globals = {
            "namespace": self.globals["namespace"],
            "dict": dict,
            "range": _bounded_range,
            "raise_exception": _raise_exception,
        }

    def restart_budget(self) -> None:
        """Allow MAX_STEPS from here."""
        self._steps = 0

    def compile_counting(self, source: str) -> jinja2.Template:
        """Compile `source` with every loop's turns charged to the budget."""
        tree = self.parse(source)
        for loop in tree.find_all(nodes.For):
            if loop.recursive:
                raise InvalidTemplateError("the chat template uses a recursive loop, which is refused")
            loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None, lineno=loop.lineno)
        return self.from_string(tree)

    def call(self, context: Context, called: Callable[..., Any], /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401  jinja's
        """Charge a call to the budget, then make it as the sandbox allows."""
        self._charge(1)
        return super().call(context, called, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401  jinja's
        """Multiply small numbers only; refuse powers."""
        factors = [abs(value) for value in (left, right) if isinstance(value, (int, float))]
        if operator == "**" or any(factor > MAX_FACTOR for factor in factors):
            raise InvalidTemplateError("the chat template computes a number that no prompt needs")
        return super().call_binop(context, operator, left, right)

    def _counted(self, items: Iterable[object]) -> list[object]:
        found = list(items)
        self._charge(len(found))
        return found

    def _charge(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise InvalidTemplateError(f"the chat template takes more than {MAX_STEPS} steps")


def _bounded_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_STEPS:
        raise InvalidTemplateError(f"the chat template counts to {len(numbers)}")
    return numbers


def _raise_exception(message: str) -> NoReturn:
    """Let the template refuse a conversation: what Hugging Face's templates call."""
    raise InvalidTemplateError(f"the chat template refuses these messages: {str(message)[:500]}")


def _to_json(
    value: object,
    indent: int | None = None,
    *,
    ensure_ascii: bool = False,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as Hugging Face's templates expect it: readable letters, nothing escaped for HTML.

    ensure_ascii is not obeyed: it would escape the marks that keep a person's words from being control tokens.
    """
    del ensure_ascii
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)


@contextmanager
def _translated_failures() -> Iterator[None]:
    """Bound what a template may allocate, and turn whatever it raises into InvalidTemplateError."""
    try:
        with _bounded_memory():
            yield
    except FAILURES as error:
        raise InvalidTemplateError(f"the chat template fails: {type(error).__name__}: {str(error)[:200]}") from error


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """Let the process grow by MAX_MEMORY_BYTES at most: a string that doubles itself ends in MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + MAX_MEMORY_BYTES
    lower = limit if soft == resource.RLIM_INFINITY else min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (lower, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

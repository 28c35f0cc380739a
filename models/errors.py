"""Everything that can go wrong with models, one class a kind, each with what to do next.

An error is built from JSON scalars only (`args`), so that it crosses the worker's pipe as its own class:
`rebuild(error.code, error.args)` gives it back on the other side.
"""

from collections.abc import Sequence


class ModelsError(Exception):
    """Root of this package's errors; `str()` says what happened, `hint` what to do next."""

    hint: str = "see `hearth models ls`"

    @property
    def code(self) -> str:
        """Name that stands for this class on the wire."""
        return type(self).__name__


class CorruptModelError(ModelsError):
    """A model file contradicts itself or its own length."""

    hint = "fetch the file again: hearth models rm NAME, then hearth models pull NAME"


class UnsupportedModelError(ModelsError):
    """A sound model file asks for something this version does not build; the message names what is supported."""

    hint = "choose another file; docs/models.md lists architectures and quantisations that work"


class InvalidTemplateError(ModelsError):
    """A chat template cannot be compiled or refuses these messages."""

    hint = "check the roles and their order, or give the model another template"


class NoTemplateError(InvalidTemplateError):
    """A model that only completes texts was given a conversation."""

    hint = "let it complete a text: `hearth complete --model NAME TEXT` or /v1/completions; or choose a chat model"


class InvalidRequestError(ModelsError):
    """A request's value is outside its range."""

    hint = "correct the named value and send the request again"


class PromptTooLongError(ModelsError):
    """The prompt does not fit the context; nothing was computed."""

    hint = "shorten the prompt or start a new conversation; [engine] context_tokens sets the limit"

    def __init__(self, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(prompt_tokens, context_tokens)
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens

    def __str__(self) -> str:
        return f"the prompt has {self.prompt_tokens} tokens, the context holds {self.context_tokens}"


class EngineError(ModelsError):
    """The runtime refused a graph or failed while computing."""

    hint = "remove the converted graph so that it is built again: hearth models rm NAME, then pull it"


class UnforeseenError(EngineError):
    """The engine failed at a question in a way that nobody foresaw, and may do so wherever it is asked."""

    hint = "ask in another way; the node's log says where in the program it happened"


class OutOfMemoryError(ModelsError):
    """A model or its context does not fit the memory."""

    hint = "choose a smaller model, or a smaller [engine] context_tokens"


class NotEnoughMemoryError(OutOfMemoryError):
    """A model will not fit what is free of the memory; it was not loaded.

    context_tokens: what was asked for; fitting_tokens: what would fit, 0 where no context does.
    """

    hint = "set a smaller [engine] context_tokens, choose a smaller model, or end other programs"

    def __init__(self, needed_bytes: int, free_bytes: int, context_tokens: int, fitting_tokens: int) -> None:
        super().__init__(needed_bytes, free_bytes, context_tokens, fitting_tokens)
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
        self.context_tokens = context_tokens
        self.fitting_tokens = fitting_tokens
        if not fitting_tokens:
            self.hint = "choose a smaller model, or end other programs"

    def __str__(self) -> str:
        needed, free = self.needed_bytes / 1e6, self.free_bytes / 1e6
        fits = f"a context of {self.fitting_tokens} would fit" if self.fitting_tokens else "no context would fit"
        return (
            f"the model with a context of {self.context_tokens} tokens needs {needed:.0f} MB, {free:.0f} MB are free; "
            f"{fits}"
        )


class WorkerDiedError(ModelsError):
    """The engine's process ended in mid-answer; the node and its models are unharmed."""

    hint = "ask again: the next question starts a new worker"


class WorkerProtocolError(ModelsError):
    """The engine's process sent something that is no message."""

    hint = "ask again: the next question starts a new worker"


class QueueFullError(ModelsError):
    """Too many questions are waiting already; this one was not taken."""

    hint = "wait for an answer and ask again"


class ModelNotFoundError(ModelsError):
    """No model of that name or digest is here."""

    hint = "see what is here and what can be had: hearth models ls"


class AmbiguousModelError(ModelsError):
    """Several models begin with that digest."""

    hint = "give more characters of the digest, or the name"


class CorruptStoreError(ModelsError):
    """A file in the model store is not what its name says; it was left as it is."""

    hint = "remove the model and pull it again: hearth models rm NAME, then hearth models pull NAME"


class StoreWriteError(ModelsError):
    """The store or the cache cannot be written; what was there is unchanged."""

    hint = "check the directory's owner and permissions"


class DiskFullError(ModelsError):
    """The disk filled up in mid-write; what was written was taken back."""

    hint = "free some space: hearth models rm NAME"


class NotEnoughSpaceError(ModelsError):
    """The disk has too little room; nothing was written."""

    hint = "free some space: hearth models rm NAME"

    def __init__(self, needed_bytes: int, free_bytes: int, directory: str) -> None:
        super().__init__(needed_bytes, free_bytes, directory)
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
        self.directory = directory

    def __str__(self) -> str:
        needed, free = self.needed_bytes / 1e6, self.free_bytes / 1e6
        return f"{self.directory} has {free:.0f} MB free, {needed:.0f} MB are needed"


class ArrivalNotFoundError(ModelsError):
    """No model of that digest is on its way here."""

    hint = "see what is here and what can be had: hearth models ls"


class NotWholeError(ModelsError):
    """A model that is still arriving was to be installed; what has come is kept."""

    hint = "pull the model again: it goes on where it stopped"


class InvalidCatalogueError(ModelsError):
    """The catalogue or one of its entries does not parse."""

    hint = "the catalogue is part of the installation: install again"


class InvalidManifestError(ModelsError):
    """A manifest does not parse strictly."""

    hint = "pull the model again: hearth models pull NAME"


class InvalidCardError(ModelsError):
    """A model's card, or something to make one of, does not parse strictly; the message names what."""

    hint = "what a card may hold: docs/model-cards.md"


class InvalidReleaseError(ModelsError):
    """What should be a publisher's signed word on a model is not; nothing of it was believed."""

    hint = "take the model from somewhere else: hearth models pull NAME; what a release is: docs/model-cards.md"


class FetchError(ModelsError):
    """A source could not be reached or ended early; what arrived is kept for the next try."""

    hint = "check the network and pull again: it goes on where it stopped"


class InvalidBundleError(ModelsError):
    """A file is no bundle, or a damaged or cut one; nothing of it was installed."""

    hint = "copy it again, or write it anew where it comes from: hearth models export NAME FILE"


class NameTakenError(ModelsError):
    """Another model has that name here; nothing was changed."""

    hint = "give it another name (hearth models import FILE --as NAME), or remove the one that is here first"


class DamagedModelError(CorruptStoreError):
    """A file of a model is not what it was when it was stored; it was set aside, and nobody is answered from it."""

    hint = "repair it: hearth models pull NAME fetches what is damaged; or import it again: hearth models import FILE"


class QuotaExceededError(ModelsError):
    """A model will not fit the quota, whatever may be removed for it; nothing was removed."""

    hint = "set a larger [models] quota_gb (0 = none), unpin a model (hearth models unpin NAME), or remove one"


class ChecksumMismatchError(ModelsError):
    """What was fetched is not what was promised; it was thrown away."""

    hint = "pull again; if it happens twice, the source has changed: do not use it"


def _subclasses(cls: type[ModelsError]) -> dict[str, type[ModelsError]]:
    found = {cls.__name__: cls}
    for child in cls.__subclasses__():
        found |= _subclasses(child)
    return found


def rebuild(code: str, args: Sequence[str | int | float]) -> ModelsError:
    """Give back the error that `code` and `args` describe; an unknown or ill-fitting one becomes a ModelsError."""
    try:
        return _subclasses(ModelsError)[code](*args)
    except (KeyError, TypeError):
        return ModelsError(f"{code}: {', '.join(map(str, args))}")

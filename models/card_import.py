"""What others have written of a model, as far as a card can hold it: GGUF metadata, the head of a hub's README.

Both give some fields of a card's JSON object, those that are there and fit; nothing is concluded from names.
Sources: ggml's docs/gguf.md, section "General metadata"; the model card specification of the Hugging Face hub.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml
import yaml.events

from models.core.card import MAX_CONTEXT_TOKENS, MAX_LANGUAGES, MAX_NAME_CHARACTERS, MAX_PARENTS, line_of
from models.core.licences import UNKNOWN, from_identifier
from models.errors import InvalidCardError

MAX_FRONT_MATTER_CHARACTERS: Final = 32 * 1024
MIN_SHARE: Final = 0.01  # of the weights: the type of fewer says nothing of how a model is stored
_FRONT_MATTER: Final = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?\r?\n)---[ \t]*(\r?\n|\Z)", re.DOTALL)
_LANGUAGE: Final = re.compile(r"[A-Za-z]{1,8}([-_][A-Za-z0-9]{1,8}){0,4}", re.ASCII)
_RELATIONS: Final[Mapping[str, str]] = {
    "quantized": "quantised",
    "finetune": "fine-tuned",
    "merge": "merged",
}  # "adapter" is none of ours

Fields = dict[str, object]


def from_gguf(metadata: Mapping[str, object], weights: Mapping[str, int]) -> Fields:
    """Read a GGUF file's metadata.  weights: how many are stored as each type, by its name."""
    architecture = _text(metadata, "general.architecture")
    parts = [_text(metadata, f"general.{part}") for part in ("basename", "size_label", "finetune")]
    composed = "-".join(part for part in parts if part != UNKNOWN)
    name = _text(metadata, "general.name")
    licence = from_identifier(_text(metadata, "general.license"), name=_known(_text(metadata, "general.license.name")))
    return _said(
        {
            "name": line_of(composed if name == UNKNOWN else name, MAX_NAME_CHARACTERS),
            "description": _text(metadata, "general.description"),
            "licence": licence,
            "licence_url": _text(metadata, "general.license.link"),
            "languages": _languages(_texts(metadata.get("general.languages"))),
            "trained_on": _datasets(_texts(metadata.get("general.datasets")) or list(_names(metadata, "dataset"))),
            "architecture": line_of(architecture, MAX_NAME_CHARACTERS),
            "parameters": sum(weights.values()),
            "quantisation": _types(weights),
            "context_tokens": _count(metadata.get(f"{architecture}.context_length"), MAX_CONTEXT_TOKENS),
            "parents": [*_gguf_parents(metadata), *_gguf_sources(metadata)][:MAX_PARENTS],
            "recipe": _by(_text(metadata, "general.quantized_by")),
        }
    )


def from_readme(text: str) -> Fields:
    """Read the YAML between the lines --- at the head of a README.  Raises InvalidCardError."""
    found = _FRONT_MATTER.match(text)
    if found is None:
        raise InvalidCardError("a README that begins with no lines between --- and ---: it says nothing to programs")
    head = _yaml(found[1])
    relation = _RELATIONS.get(_text(head, "base_model_relation").lower(), UNKNOWN)
    licence = _texts(head.get("license"))[:1] or [""]
    return _said(
        {
            "name": line_of(_text(head, "model_name"), MAX_NAME_CHARACTERS),
            "licence": from_identifier(licence[0], name=_known(_text(head, "license_name"))),
            "licence_url": _text(head, "license_link"),
            "languages": _languages(_texts(head.get("language"))),
            "trained_on": _datasets(_texts(head.get("datasets"))),
            "parents": [_parent(name, relation=relation) for name in _texts(head.get("base_model"))[:MAX_PARENTS]],
            "recipe": _by(_text(head, "quantized_by")),
        }
    )


class _Texts(yaml.BaseLoader):  # type: ignore[misc]  # PyYAML ships no types
    """YAML whose scalars are all texts ("no" is a language), without tags' meanings and without references."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401  PyYAML's own
        """Refuse a reference: a few of them can stand for a billion values."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("a reference")
        return super().compose_node(parent, index)


def _yaml(text: str) -> Mapping[str, object]:
    if len(text) > MAX_FRONT_MATTER_CHARACTERS:
        raise InvalidCardError(f"a README whose head is longer than {MAX_FRONT_MATTER_CHARACTERS} characters")
    try:
        head: object = yaml.load(text, Loader=_Texts)  # noqa: S506  it builds texts, lists and dicts only
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidCardError(
            "a README whose head is no YAML that is read here: no references, not too deep"
        ) from error
    if not isinstance(head, dict):
        raise InvalidCardError("a README whose head is no list of names and values")
    return head


def _said(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if value not in (UNKNOWN, [], 0)}


def _text(fields: Mapping[str, object], key: str) -> str:
    value = fields.get(key)
    return line_of(value) if isinstance(value, str) else UNKNOWN


def _texts(value: object) -> list[str]:
    """Return the lines of one text or of a list of texts."""
    items = value if isinstance(value, list | tuple) else [value]
    lines = [line_of(item) for item in items if isinstance(item, str)]
    return [line for line in lines if line != UNKNOWN]


def _known(text: str) -> str:
    return "" if text == UNKNOWN else text


def _count(value: object, limit: int) -> int:
    return value if type(value) is int and 0 < value <= limit else 0


def _languages(names: list[str]) -> list[str]:
    return [name.replace("_", "-") for name in names if _LANGUAGE.fullmatch(name)][:MAX_LANGUAGES]


def _datasets(names: list[str]) -> str:
    return line_of(f"datasets: {', '.join(names)}") if names else UNKNOWN


def _types(weights: Mapping[str, int]) -> str:
    """Name the types that hold a real share of the weights, the commonest first."""
    total = sum(weights.values())
    common = [kind for kind in weights if weights[kind] >= MIN_SHARE * total]
    return line_of(", ".join(sorted(common, key=lambda kind: -weights[kind])), MAX_NAME_CHARACTERS)


def _by(who: str) -> str:
    return UNKNOWN if who == UNKNOWN else f"quantised by {who}"


def _parent(name: str, *, source: str = UNKNOWN, relation: str = UNKNOWN) -> Fields:
    return {
        "name": line_of(name, MAX_NAME_CHARACTERS),
        "digest": UNKNOWN,
        "source": source,
        "relation": relation,
    }


def _names(metadata: Mapping[str, object], kind: str) -> Iterator[str]:
    for number in range(_count(metadata.get(f"general.{kind}.count"), MAX_PARENTS)):
        if (name := _text(metadata, f"general.{kind}.{number}.name")) != UNKNOWN:
            yield name


def _gguf_parents(metadata: Mapping[str, object]) -> Iterator[Fields]:
    """Read the base models; the file does not say how it was made from them."""
    for number in range(_count(metadata.get("general.base_model.count"), MAX_PARENTS)):
        about = {
            key: _text(metadata, f"general.base_model.{number}.{key}") for key in ("name", "repo_url", "url", "doi")
        }
        source = next((about[key] for key in ("repo_url", "url", "doi") if about[key] != UNKNOWN), UNKNOWN)
        if (about["name"], source) != (UNKNOWN, UNKNOWN):
            yield _parent(about["name"], source=source)


def _gguf_sources(metadata: Mapping[str, object]) -> Iterator[Fields]:
    """Read what the file was converted from."""
    for key in ("repo_url", "url", "huggingface.repository"):
        source = _text(metadata, f"general.source.{key}")
        if source != UNKNOWN:
            yield _parent(source.rstrip("/").rpartition("/")[2] or source, source=source, relation="converted")
            return

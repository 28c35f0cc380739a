"""Entry points of cards: what strangers publish, and READMEs from anywhere."""

import contextlib

from models.card_import import from_readme
from models.core.card import Card
from models.core.licences import from_identifier, require_expression
from models.core.manifest import Blob, Manifest
from models.core.release import Release
from models.errors import InvalidCardError, InvalidReleaseError
from tests.fuzz.target import Target

CARD = Card(name="n", licence="MIT OR (ISC AND 0BSD)", languages=("en",), parameters=5, parents=(), bad_at="a\nb")


def parse_card(data: bytes) -> None:
    """A card: what is taken is written in one way."""
    with contextlib.suppress(InvalidCardError):
        assert Card.parse(data).to_bytes() == data


def parse_release(data: bytes) -> None:
    """A release whose signature is good: what is taken is written in one way."""
    with contextlib.suppress(InvalidReleaseError):
        assert Release.parse(data, verify=lambda _public, _signature, _message: True).to_bytes() == data


def read_readme(data: bytes) -> None:
    """The head of a README: what is read makes a card."""
    with contextlib.suppress(InvalidCardError):
        Card.of(from_readme(data.decode(errors="replace")))


def name_licence(data: bytes) -> None:
    """What somebody calls a licence: it becomes an expression."""
    require_expression(from_identifier(data.decode(errors="replace")))


def _release() -> bytes:
    manifest = Manifest.of([Blob("gguf", "a" * 64, 5)])
    return Release.make(manifest, {"a" * 64: "b" * 64}, CARD, bytes(32), sign=lambda _: bytes(64)).to_bytes()


TARGETS = (
    Target(parse_card, lambda: [CARD.to_bytes()]),
    Target(parse_release, lambda: [_release()]),
    Target(
        read_readme, lambda: [b"---\nlicense: mit\nlanguage: [en]\nbase_model:\n- a/b\ndatasets: &x [c]\n---\n# T\n"]
    ),
    Target(name_licence, lambda: [b"MIT OR (Apache-2.0 AND GPL-2.0+)", b"llama3.2", b"GPL-2.0-only WITH x"]),
)

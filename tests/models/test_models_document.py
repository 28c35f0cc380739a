"""The document of what works says what the converter does."""

from tests.models.models_document import DOCUMENT, document


def test_the_tables_are_the_converters() -> None:
    """`python -m tests.models.models_document` brings them up to date."""
    assert DOCUMENT.read_text() == document()

"""docs/model-cards.md says what is so: its example runs, its tables have every field and licence."""

import re
import subprocess
import sys
from pathlib import Path

from models.core.card import FIELDS, RELATIONS
from models.core.licences import TABLE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "model-cards.md").read_text(encoding="utf-8")
CODE = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL)


def test_the_example_prints_what_the_document_says() -> None:
    """As a third party runs it: without our code."""
    [program] = [code for language, code in CODE if language == "python"]
    printed = CODE[-1][1]
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (printed, "")


def test_the_tables_are_complete() -> None:
    """Each field, relation and licence is named."""
    missing = [name for name in (*FIELDS, *RELATIONS) if f"`{name}`" not in TEXT]
    missing += [
        name for name in TABLE if f"`{name}`" not in TEXT and f"`{name}…`" not in TEXT and f"`{name}-…`" not in TEXT
    ]
    assert missing == []

"""What the table of licences says of an expression, and which texts are none."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core.licences import MAX_DEPTH, TABLE, from_identifier, judge, require_expression
from models.errors import InvalidCardError


@pytest.mark.parametrize(
    ("expression", "redistribution", "reason"),
    [
        ("unknown", "unknown", "its licence is unknown"),
        ("Apache-2.0", "allowed", "Apache-2.0: anyone"),
        ("apache-2.0", "allowed", "apache-2.0: anyone"),
        ("MIT", "allowed", "MIT: anyone"),
        ("CC-BY-4.0", "allowed", "keep the notices"),
        ("CC-BY-SA-4.0", "allowed", "same licence"),
        ("CC-BY-NC-4.0", "allowed", "not for money"),
        ("CC-BY-NC-ND-4.0", "allowed", "unchanged, but not for money"),
        ("CC-BY-ND-4.0", "allowed", "passed on unchanged"),
        ("GPL-3.0-or-later", "allowed", "same licence"),
        ("GPL-2.0+", "allowed", "GPL-2.0+: "),
        ("LicenseRef-gemma", "allowed", "rules of use go with them"),
        ("LicenseRef-llama3.2", "allowed", "rules of use go with them"),
        ("LicenseRef-Llama4", "allowed", "rules of use go with them"),
        ("LicenseRef-llama1", "forbidden", "may not pass copies on"),
        ("LicenseRef-proprietary", "forbidden", "its owner has kept the right"),
        ("LicenseRef-other", "unknown", "not in the table"),
        ("MITx", "unknown", "MITx: not in the table"),
        ("DocumentRef-a:LicenseRef-b", "unknown", "not in the table"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "allowed", "GPL-2.0-only"),
        ("MIT OR LicenseRef-proprietary", "allowed", "MIT"),
        ("LicenseRef-proprietary OR MIT", "allowed", "MIT"),
        ("MIT AND LicenseRef-proprietary", "forbidden", "LicenseRef-proprietary"),
        ("MIT AND LicenseRef-other", "unknown", "LicenseRef-other"),
        ("MIT OR LicenseRef-other AND LicenseRef-llama1", "allowed", "MIT"),
        ("(MIT OR LicenseRef-other) AND LicenseRef-llama1", "forbidden", "LicenseRef-llama1"),
        ("LicenseRef-other OR LicenseRef-llama1", "unknown", "LicenseRef-other"),
    ],
)
def test_the_table_decides(expression: str, redistribution: str, reason: str) -> None:
    """OR takes the kindest, AND the strictest; the reason names the licence that decided."""
    judgement = judge(expression)
    assert redistribution == judgement.redistribution
    assert reason in judgement.reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "MIT License",
        "see LICENSE file",
        "MIT OR",
        "OR MIT",
        "MIT AND AND MIT",
        "MIT WITH",
        "MIT WITH (X)",
        "(MIT",
        "MIT)",
        "()",
        "MIT\n",
        "MIT/X11",
        "Apache-2.0; MIT",
        "a:b",
        "(" * (MAX_DEPTH + 1) + "MIT" + ")" * (MAX_DEPTH + 1),
        "M" * 201,
        "é",
    ],
)
def test_what_is_no_expression(text: str) -> None:
    """It is refused with an example of one."""
    with pytest.raises(InvalidCardError):
        require_expression(text)


def test_as_deep_as_allowed() -> None:
    """Parentheses may be nested, within reason."""
    assert judge("(" * MAX_DEPTH + "MIT" + ")" * MAX_DEPTH).redistribution == "allowed"


@given(st.text(alphabet="MIT ()ANDORWITH+:-.é\n", max_size=60))
def test_any_text_is_judged_or_refused(text: str) -> None:
    """No text does anything else; what is judged is returned as it is."""
    with contextlib.suppress(InvalidCardError):
        assert text == require_expression(text)


def test_each_row_of_the_table_is_found_by_its_own_name() -> None:
    """No row is hidden behind another."""
    for known, (redistribution, reason) in TABLE.items():
        judgement = judge(known)
        assert (redistribution, f"{known}: {reason}") == (judgement.redistribution, judgement.reason)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("apache-2.0", "", "Apache-2.0"),
        ("mit", "", "MIT"),
        (" MIT ", "", "MIT"),
        ("cc-by-nc-sa-4.0", "", "CC-BY-NC-SA-4.0"),
        ("bsd-3-clause-clear", "", "BSD-3-Clause-clear"),
        ("gemma", "", "LicenseRef-gemma"),
        ("LicenseRef-gemma", "", "LicenseRef-gemma"),
        ("llama3.2", "", "LicenseRef-llama3.2"),
        ("other", "", "LicenseRef-other"),
        ("other", "tongyi-qianwen-research", "LicenseRef-tongyi-qianwen-research"),
        ("Other", "Qwen  RESEARCH\nLICENSE (v1)", "LicenseRef-Qwen-RESEARCH-LICENSE-v1"),
        ("other", "MIT", "MIT"),
        ("MIT OR Apache-2.0", "", "MIT OR Apache-2.0"),
        ("MIT or so", "", "LicenseRef-MIT-or-so"),
        ("mit-é", "", "LicenseRef-mit"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("unknown", "", "unknown"),
        ("", "ignored", "unknown"),
        ("é", "", "unknown"),
        ("x" * 500, "", "LicenseRef-" + "x" * 80),
    ],
)
def test_what_hubs_call_a_licence(text: str, name: str, expected: str) -> None:
    """It becomes an SPDX expression, spelled as SPDX spells it where the table knows it."""
    assert expected == from_identifier(text, name=name)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_name_becomes_an_expression(text: str, name: str) -> None:
    """Whatever a file says, a card can hold it."""
    require_expression(from_identifier(text, name=name))

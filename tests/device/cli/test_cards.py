"""Cards and lineage at the command line: models card, models lineage."""

import json
from pathlib import Path

import pytest

from models.core.card import Card
from tests.device.cli.conftest import Hearth
from tests.sim.daemon import SimulatedDaemon
from tests.sim.scripts import CARD, LINEAGE

pytestmark = pytest.mark.usefixtures("daemon")

README = "---\nlicense: cc-by-4.0\nlanguage: en\ndatasets: [a/b]\n---\n# Stories\n"


def _kept(daemon: SimulatedDaemon) -> list[Card]:
    """The cards that were sent."""
    return [Card.from_fields(body) for method, _, body in daemon.asked if method == "PUT"]


def test_a_card_is_shown(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """What is unknown is said to be; several lines stand below each other."""
    done = hearth("models", "card", "stories-42m")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "Stories 42M"
    assert "  licence         MIT" in lines
    assert "  trained on      unknown" in lines
    assert lines[lines.index("  bad at          facts") + 1] == " " * 18 + "and figures"
    assert "  parents         none" in lines
    assert "  passed on       yes: MIT: anyone may pass copies on; keep the notices with them" in lines
    assert "  signed by       nobody yet" in lines
    assert "  published by    nobody in this community" in lines
    assert json.loads(hearth("models", "card", "stories-42m", "--json").out) == CARD
    assert _kept(daemon) == []
    gone = hearth("models", "card", "gone")
    assert gone.code == 1
    assert "no model gone is here" in gone.err


def test_a_card_says_what_the_record_says(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """By whom the model is published, or by whom it was taken back."""
    daemon.card |= {"published_by": ["kitchen (k3v5x2ab)", "attic (a2f6jrkx)"]}
    lines = hearth("models", "card", "stories-42m").out.splitlines()
    assert [line.split(maxsplit=2)[2] for line in lines if "published by" in line] == [
        "kitchen (k3v5x2ab)",
        "attic (a2f6jrkx)",
    ]
    daemon.card |= {"retired": "by kitchen (k3v5x2ab): it lies"}
    lines = hearth("models", "card", "stories-42m").out.splitlines()
    assert lines[-1] == "  retired         by kitchen (k3v5x2ab): it lies"
    assert not any("published by" in line for line in lines)


def test_why_a_model_is_not_passed_on(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """And what the owner can do."""
    daemon.card |= {"shared": False, "reason": "nobody knows its licence", "hint": "write it down"}
    done = hearth("models", "card", "stories-42m")
    assert "  passed on       no: nobody knows its licence" in done.out
    assert "To pass it on: write it down" in done.err


def test_scripts_set_fields(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Several at once, with "=" in a value; the card as it is then is shown."""
    words = [
        "--set",
        "licence=apache-2.0",
        "--set",
        "licence_url=https://example.org/?a=b",
        "--set",
        "languages=en, de",
    ]
    done = hearth("models", "card", "stories-42m", *words, "--json")
    card = Card.from_fields(json.loads(done.out)["card"])
    assert (card.licence, card.licence_url, card.languages) == ("Apache-2.0", "https://example.org/?a=b", ("en", "de"))
    assert (card.name, card.bad_at) == ("Stories 42M", "facts\nand figures")
    assert _kept(daemon) == [card]
    again = hearth("models", "card", "stories-42m", *words)
    assert "Nothing has changed." in again.err
    assert len(_kept(daemon)) == 1


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("author=me", "'author' is no field of a card; its fields: name, description, licence"),
        ("licence", None),
        ("licence=see the file", "licence: an SPDX expression"),
        ("parameters=many", "'many' is no whole number"),
        ("name=" + "x" * 101, "name: 1 to 100 printable characters"),
    ],
)
def test_what_cannot_be_set(hearth: Hearth, daemon: SimulatedDaemon, assignment: str, said: str | None) -> None:
    """It is said what is wrong; an empty value says that nobody knows."""
    done = hearth("models", "card", "stories-42m", "--set", "bad_at=all", "--set", assignment)
    if said is None:
        assert (done.code, [card.licence for card in _kept(daemon)]) == (0, ["unknown"])
        return
    assert done.code == 1
    assert said in done.err
    assert "nothing was changed" in done.err
    assert "docs/model-cards.md" in done.err
    assert _kept(daemon) == []


def test_a_readme_is_taken_over(hearth: Hearth, daemon: SimulatedDaemon, tmp_path: Path) -> None:
    """What its head says replaces what was there, what is set stands above it."""
    path = tmp_path / "README.md"
    path.write_text(README)
    assert hearth("models", "card", "stories-42m", "--from-readme", str(path), "--set", "languages=la").code == 0
    [card] = _kept(daemon)
    assert (card.licence, card.languages, card.trained_on) == ("CC-BY-4.0", ("la",), "datasets: a/b")
    path.write_text("# Stories\n")
    done = hearth("models", "card", "stories-42m", "--from-readme", str(path))
    assert (done.code, len(_kept(daemon))) == (1, 1)
    assert "between --- and ---" in done.err
    assert hearth("models", "card", "stories-42m", "--from-readme", str(tmp_path / "absent")).code == 1


def test_nobody_can_be_asked_in_a_pipe(hearth: Hearth, daemon: SimulatedDaemon) -> None:
    """Scripts are told what to do instead."""
    done = hearth("models", "card", "stories-42m", "--edit", stdin="x\n")
    assert done.code == 1
    assert "--set FIELD=VALUE" in done.err
    assert daemon.asked == []


def test_a_lineage_is_drawn(hearth: Hearth) -> None:
    """A model with what is known of it, below it what it was made from."""
    expected = """\
Stories 42M (c0ffee11)
│  licence: MIT
├─ fine-tuned from Tales 42M (7a1e5a11)
│  │  licence: MIT
│  │  source: https://example.org/tales
│  │  recipe: three evenings
│  │  tools: trainer 2.0
│  │  signed by: workshop (mq7wz4td)
│  ├─ made from Tales 42M (7a1e5a11)
│  │     licence: MIT
│  │     source: https://example.org/tales
│  │     recipe: three evenings
│  │     tools: trainer 2.0
│  │     signed by: workshop (mq7wz4td)
│  │     made from: further up, or too far back
│  └─ made from Sagas (7a1e5a11)
│        licence: MIT
│        source: https://example.org/tales
│        recipe: three evenings
│        tools: trainer 2.0
│        signed by: workshop (mq7wz4td)
│        made from: unknown
└─ merged from Rumours
      not here: nothing more is known of it
"""
    assert hearth("models", "lineage", "stories-42m").out == expected
    tree = json.loads(hearth("models", "lineage", "stories-42m", "--json").out)
    assert tree["parents"][0]["name"] == LINEAGE["parents"][0]["name"]
    assert hearth("models", "lineage", "gone").code == 1

"""Owners who decide by command, at three hearths; one of them is lost."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.hearths import Hearth

WITHIN_S: Final = 60.0

pytestmark = pytest.mark.slow


def test_three_owners_decide_and_one_board_is_lost(tmp_path: Path) -> None:
    """What a voter does alone, what it takes others for, and the paper that survives a dead board."""
    names = ("ember", "spark", "flint", "cinder")
    ember, spark, flint, cinder = (Hearth(tmp_path / name, name=name) for name in names)
    with ember, spark, cinder:
        with flint:
            for other in (spark, flint, cinder):
                other.run("join", *ember.json("pair")["words"].split())
            assert ember.run("propose", "voter", "spark").stdout.startswith("Decided: proposal ")
            ember.wait_for("spark", "flint", "cinder")
            asked = ember.json("propose", "voter", "flint")
            assert not asked["decided"]
            agree(spark, asked["id"])
            until_rule(ember, "3 voters: all must agree")
            shown = ember.run("community").stdout
            assert "“ember”: 3 voters: all must agree" in shown
            assert "Other rules: hearth propose rules --help" in shown
            told = spark.run("peers", "forget", "cinder").stdout  # whom ember let in
            assert told.startswith("Proposed to remove cinder")
            ember.run("vote", spark.json("community")["motions"][0]["id"], "no")
            words = flint.json("community", "paper")["words"]
            assert flint.run("community", "paper", check=False).returncode == 1
            until(lambda: sum(seat["paper"] for seat in ember.json("community")["seats"]) == 1)
        # flint's board is gone for good: the other two cannot decide without it
        waiting = ember.json("propose", "rules", "--notice", "2")
        agree(spark, waiting["id"])
        assert "flint" in waiting_for(spark, waiting["id"])
        wrong = cinder.run("community", "recover", *words.split()[::-1], check=False)
        assert (wrong.returncode, "hearth community" in wrong.stderr) == (1, True)
        assert "votes now" in cinder.run("community", "recover", *words.split()).stdout
        until(lambda: {seat["name"] for seat in ember.json("community")["seats"]} == {"ember", "spark", "cinder"})
        agree(cinder, waiting["id"])
        until(lambda: spark.json("community")["notice"] == 2)
        assert "proposes other rules" in spark.run("log", "--kind", "charter").stdout
        assert spark.json("status")["community"]["state"] == cinder.json("status")["community"]["state"]


def test_two_go_on_without_a_lost_board_that_has_no_paper(tmp_path: Path) -> None:
    """One begins the community anew, the other goes along; both have the record of the old one, and it still holds."""
    ember, spark, flint = (Hearth(tmp_path / name, name=name) for name in ("ember", "spark", "flint"))
    with ember, spark:
        with flint:
            for other in (spark, flint):
                other.run("join", *ember.json("pair")["words"].split())
            ember.run("propose", "voter", "flint")
        old = ember.json("status")["community"]["id"]
        assert ember.run("community", "fork", "--without", "flint", check=False).returncode == 1
        kept = [ember.json("community", "fork", "--without", "flint", "--yes")["kept"]]
        until(lambda: bool(spark.json("community")["begun"]))
        [begun] = spark.json("community")["begun"]
        assert (begun["by"], begun["members"]) == ("ember", ["ember", "spark"])
        kept.append(spark.json("community", "choose", begun["id"][:8])["kept"])
        ember.wait_for("spark")
        new = {hearth.json("status")["community"]["id"] for hearth in (ember, spark)}
        assert len(new) == 1
        assert old not in new
        assert [ember.json("verify", path)["community"] for path in kept] == [old, old]
        assert ember.run("propose", "voter", "spark").stdout.startswith("Decided: proposal ")


def agree(hearth: Hearth, proposal: str) -> None:
    """Have an owner say yes once the proposal has come."""
    until(lambda: any(one["id"] == proposal for one in hearth.json("community")["motions"]))
    hearth.run("vote", proposal[:8], "yes")


def waiting_for(hearth: Hearth, proposal: str) -> list[str]:
    """Whom a proposal waits for, as this hearth sees it."""
    return [name for one in hearth.json("community")["motions"] if one["id"] == proposal for name in one["waiting"]]


def until(condition: Callable[[], bool]) -> None:
    """Ask again until it is so."""
    give_up_at = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < give_up_at


def until_rule(hearth: Hearth, rule: str) -> None:
    """Wait for a rule to be in force."""
    until(lambda: hearth.json("community")["rule"] == rule)

"""Figures as people read them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.api import Answerer, AnswerFinished, AnswerLoading, AnswerPart, AnswerQueued, ApiKey
from device.api_of_models import Model, PullProgress
from device.wording import (
    Pace,
    amount,
    answered_by,
    budget,
    count,
    delay,
    duration,
    limits,
    path,
    pull_figures,
    readiness,
    share,
    short_id,
    size,
    speed,
)


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (98_087_104, "98.1 MB"), (999_960_000, "1.0 GB"), (3e12, "3.0 TB")],
)
def test_size(number: float, said: str) -> None:
    """Decimal units, as disks are sold."""
    assert size(number) == said


@pytest.mark.parametrize(
    ("given_away", "said"),
    [
        ((12, 3456, 98_087_104), "12 answers of 3456 tokens and 98.1 MB of models"),
        ((1, 1, 0), "1 answer of 1 token"),
        ((0, 0, 5), "5 B of models"),
        ((0, 0, 0), "nothing"),
    ],
)
def test_amount(given_away: tuple[int, int, int], said: str) -> None:
    """As much of it as there is."""
    assert amount(*given_away) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (8065, "2 h 14 min"), (90_000, "1 d 1 h")],
)
def test_duration(seconds: float, said: str) -> None:
    """The two largest units."""
    assert duration(seconds) == said


@given(st.floats(0, 1e15))
def test_figures_stay_short(number: float) -> None:
    """Whatever the number, a table's column stays narrow."""
    assert len(size(number)) <= 10
    assert len(duration(number / 1e6)) <= 12


def test_readiness() -> None:
    """From a file on disk to a model that answers."""
    here = Model(name="a", digest="b", size_bytes=1)
    assert readiness(here) == ""
    assert readiness(replace(here, loading=True)) == "loading"
    assert readiness(replace(here, loading=True, converted_percent=40)) == "converting 40 %"
    assert readiness(replace(here, loading=True, converted_percent=100)) == "loading"
    assert readiness(replace(here, loaded=True)) == "loaded"


@pytest.mark.parametrize(("hops", "said"), [(0, "-"), (1, "direct"), (2, "2 hops")])
def test_path(hops: int, said: str) -> None:
    """How far away a neighbour is."""
    assert path(hops) == said


def test_words() -> None:
    """Plurals, short ids, speeds."""
    assert (count(1, "member"), count(3, "member"), count(2, "entry", "entries")) == (
        "1 member",
        "3 members",
        "2 entries",
    )
    assert short_id("k3v5x2abqpzr") == "k3v5x2ab"
    assert (speed(31.4), speed(0.31)) == ("31 tokens/s", "0.3 tokens/s")


def test_the_pace_of_a_resumed_download() -> None:
    """What was there before does not count as fetched; too early, and outside the download, nothing is said."""
    pace = Pace()
    assert pace.rate(PullProgress(stage="resolve"), now=0.0) is None
    assert pace.rate(PullProgress(stage="download", done=50, total=100), now=10.0) is None
    assert pace.rate(PullProgress(stage="download", done=60, total=100), now=10.1) is None
    assert pace.rate(PullProgress(stage="download", done=70, total=100), now=12.0) == 10.0
    assert pace.rate(PullProgress(stage="verify", done=70, total=100), now=13.0) is None


def test_figures_of_a_pull() -> None:
    """As much as is known: bytes only where the stage counts bytes."""
    download = PullProgress(stage="download", done=40_000_000, total=98_087_104)
    assert pull_figures(download, 12_300_000.0) == " 41 %  40.0 MB of 98.1 MB  12.3 MB/s  4 s left"
    assert pull_figures(PullProgress(stage="convert", done=50, total=100), None) == " 50 %"
    assert pull_figures(PullProgress(stage="resolve"), None) == ""
    assert share(PullProgress(stage="download", done=9, total=3)) == 1.0


def test_who_answered() -> None:
    """One node by its name and id, or as the caller calls it; several in turn, from which token on."""
    by = Answerer(node_id="gknbzabw" * 6, node_name="ember", model="small", model_digest="")
    end = AnswerFinished(
        answerer=by, finish_reason="stop", prompt_tokens=1, completion_tokens=90, ttft_ms=1.0, tokens_per_s=1.0
    )
    assert answered_by(end) == "ember (gknbzabw) with small"
    assert answered_by(end, one="this node") == "this node with small"
    parts = [
        AnswerPart(node_id="gknbzabw" * 6, node_name="ember", from_token=0, tokens=57),
        AnswerPart(node_id="mq7wz4td" * 6, node_name="workshop", from_token=57, tokens=33),
    ]
    several = answered_by(replace(end, parts=tuple(parts)), one="this node")
    assert several == "ember (gknbzabw), then workshop (mq7wz4td) from token 57, with small"


def test_why_an_answer_has_not_begun() -> None:
    """Its turn, or its model, in the words of the list of models."""
    assert delay(AnswerQueued(place=3)) == "place 3 in the queue"
    assert delay(AnswerLoading(converted_percent=0)) == "the model: loading"
    assert delay(AnswerLoading(converted_percent=40)) == "the model: converting 40 %"


def test_what_a_key_may() -> None:
    """Its limits, and what is left where some is used."""
    assert (limits(6, 1000), limits(1, 0), limits(0, 0)) == (
        "6 questions a minute and 1000 tokens a day",
        "1 question a minute",
        "without limit",
    )
    key = ApiKey(id="5f1c8a03", name="laptop", scopes=("ask",), per_day=1000, tokens_left=1000, renews_in_s=86_400)
    assert budget(key) == "1000 tokens a day"
    assert budget(replace(key, tokens_left=1, renews_in_s=59)) == "1000 tokens a day, 1 left for 59 s"
    assert budget(replace(key, tokens_left=None)) == "1000 tokens a day"

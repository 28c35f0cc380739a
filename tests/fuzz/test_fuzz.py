"""Every entry point takes its seeds, what was once found, and some mutations of both."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import TARGETS
from tests.fuzz.target import CORPUS, Target, mutated

BY_NAME = {target.name: target for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_corpus_does_no_harm(target: Target) -> None:
    """Sound input, and what once went wrong."""
    corpus = target.corpus()
    for data in corpus:
        target.parse(data)
    assert len(corpus) > 1


@pytest.mark.parametrize("name", BY_NAME)
@settings(max_examples=50)
@given(st.integers(0, 2**64 - 1))
def test_mutations_do_no_harm(name: str, seed: int) -> None:
    """Whatever is done to sound input, only documented errors come of it."""
    chance = random.Random(seed)  # noqa: S311  hypothesis' own choice
    target = BY_NAME[name]
    data = mutated(chance.choice(target.corpus()), chance)
    target.parse(data)
    assert len(data) <= 64 * 1024


def test_each_corpus_has_its_target() -> None:
    """Names are unique, and no folder is left over."""
    assert len(BY_NAME) == len(TARGETS)
    assert {path.name for path in CORPUS.glob("*") if path.is_dir()} <= set(BY_NAME)

"""The record as the device reads and signs it: what one node signs, the other has."""

import contextlib
from pathlib import Path

import pytest

from mesh.core.entries import PublishModel, RetireModel, write_entry
from mesh.core.standing import Standing
from mesh.errors import FeedFullError, KeyInDisputeError, NoCommunityError
from tests.mesh.nodes import paired, running

MODEL = PublishModel(b"\1" * 32, b"\2" * 32, "tiny", "MIT")


async def test_what_one_signs_the_other_reads(tmp_path: Path) -> None:
    """It counts there too, and both are told that something has changed."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        changes = list[str]()
        ben.node.on_change(lambda: changes.append("Ben"))
        entry = ben.node.record.sign(MODEL)
        assert changes == ["Ben"]
        await anna.until(lambda: entry in anna.node.record.view().entries)
        view = anna.node.record.view()
        assert Standing(view.entries, view.membership).counts(entry)
        assert view == ben.node.record.view()


async def test_without_a_community_there_is_no_record(tmp_path: Path) -> None:
    """Nothing to read, and nothing is signed."""
    async with running(tmp_path, "Anna") as anna:
        with pytest.raises(NoCommunityError):
            anna.node.record.view()
        with pytest.raises(NoCommunityError):
            anna.node.record.sign(MODEL)


async def test_who_was_removed_can_still_read(tmp_path: Path) -> None:
    """Why, for example; but signs no more."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        await anna.node.forget(ben.node.node_id)
        await ben.until(lambda: ben.node.community() is None)
        assert len(ben.node.record.view().entries) == 3
        with pytest.raises(NoCommunityError):
            ben.node.record.sign(RetireModel(b"\1" * 32, ""))


async def test_a_feed_holds_so_much(tmp_path: Path) -> None:
    """Then nothing more is signed into it but leaving; what was signed stands."""
    async with running(tmp_path, "Anna") as anna, running(tmp_path, "Ben") as ben:
        await paired(anna, ben)
        signed = 0
        with contextlib.suppress(FeedFullError):
            while signed < 100:
                ben.node.record.sign(MODEL)
                signed += 1
        with pytest.raises(FeedFullError):
            ben.node.record.sign(MODEL)
        assert len(ben.node.record.view().entries) == 2 + signed
        assert 40 < signed < 80
        await ben.node.leave()


async def test_a_key_in_dispute_signs_nothing(tmp_path: Path) -> None:
    """It would not count."""
    async with running(tmp_path, "Anna") as anna:
        await anna.node.open_offer()
        store = anna.node._store
        assert store.ledger is not None
        place = store.ledger.next_place(store._identity.public)
        forks = [RetireModel(bytes([number]) * 32, "") for number in range(2)]
        store.take([write_entry(store._identity.seed, store.ledger.community, place, body) for body in forks])
        with pytest.raises(KeyInDisputeError):
            anna.node.record.sign(MODEL)

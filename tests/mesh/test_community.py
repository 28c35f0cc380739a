"""What a node knows of its community survives a restart, and nothing is signed twice."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesh.community import CommunityStore
from mesh.core.door_messages import Grant
from mesh.core.entries import Admit, Entry, Remove
from mesh.core.epochs import EpochKey
from mesh.core.ledger import Ledger
from mesh.core.membership import OBSERVER
from mesh.errors import FeedBehindError, MalformedError, NoCommunityError, StorageError
from mesh.identity import Identity
from tests.mesh.core.world import Person

ANNA, BEN, CLEO = Person("Anna"), Person("Ben"), Person("Cleo")
GRANT = Grant(b"ca", b"ctl", b"bulk")


def identity_of(person: Person) -> Identity:
    """A person's keys as a node holds them."""
    return Identity(person.seed, person.static_secret, person.statement)


@contextmanager
def store_of(person: Person, directory: Path) -> Iterator[CommunityStore]:
    """Open a person's database."""
    store = CommunityStore(directory / f"{person.name}.db", identity_of(person))
    try:
        yield store
    finally:
        store.close()


def admit(store: CommunityStore, person: Person) -> Entry:
    """Let somebody in."""
    return store.sign(Admit(person.statement, person.name, OBSERVER))


def test_a_founded_community_survives_a_restart(tmp_path: Path) -> None:
    """Ledger, keys, grants and blocks are read back."""
    with store_of(ANNA, tmp_path) as store:
        assert store.membership is None
        assert store.others == ()
        assert not store.is_voter
        store.found("Harbour", "Anna")
        admit(store, BEN)
        store.save_grant(BEN.raw_id, GRANT)
        store.block(CLEO.raw_id)
        membership, keys = store.membership, store.keys
    with store_of(ANNA, tmp_path) as store:
        assert store.membership == membership
        assert store.keys == keys
        assert len(keys.current) == 1
        assert store.is_voter
        assert [one.name for one in store.others] == ["Ben"]
        assert store.grant_of(BEN.raw_id) == GRANT
        assert store.grant_of(CLEO.raw_id) is None
        assert store.blocked == {CLEO.raw_id}
        store.unblock(CLEO.raw_id)
        assert store.blocked == set()
    assert stat.S_IMODE((tmp_path / "Anna.db").stat().st_mode) == 0o600


def test_a_block_takes_the_grant_away(tmp_path: Path) -> None:
    """Nothing opens a blocked node's broker any more."""
    with store_of(ANNA, tmp_path) as store:
        store.save_grant(BEN.raw_id, GRANT)
        store.block(BEN.raw_id)
        assert store.grant_of(BEN.raw_id) is None


def test_a_member_enters_and_leaves(tmp_path: Path) -> None:
    """Entering takes the ledger as a whole; leaving forgets it, but not what was signed."""
    with store_of(ANNA, tmp_path) as anna, store_of(BEN, tmp_path) as ben:
        anna.found("Harbour", "Anna")
        admit(anna, BEN)
        assert anna.ledger is not None
        entries = anna.ledger.entries
        ben.found("Ben's own", "Ben")
        ben.enter(Ledger.of(entries), anna.keys.current)
        assert ben.membership == anna.membership
        assert ben.keys == anna.keys
        ben.sign(Remove(BEN.public, "left"))
        assert ben.membership is None
        ben.leave()
        assert (ben.ledger, ben.keys.keys) == (None, ())
        with pytest.raises(NoCommunityError):
            ben.sign(Remove(BEN.public, "left"))
        ben.enter(Ledger.of(entries), anna.keys.current)
        with pytest.raises(FeedBehindError):  # its seq 0 was signed already, and this copy does not show it
            ben.sign(Remove(BEN.public, "left"))


def test_an_admission_must_hold_this_node(tmp_path: Path) -> None:
    """Otherwise nothing is changed."""
    with store_of(ANNA, tmp_path) as anna, store_of(CLEO, tmp_path) as cleo:
        anna.found("Harbour", "Anna")
        assert anna.ledger is not None
        with pytest.raises(MalformedError):
            cleo.enter(Ledger.of(anna.ledger.entries), [])
        assert cleo.ledger is None
        with pytest.raises(MalformedError):
            Ledger.of([])


def test_entries_of_neighbours_are_taken_once(tmp_path: Path) -> None:
    """New ones are returned and saved; another community's are refused whole."""
    with store_of(ANNA, tmp_path) as anna, store_of(BEN, tmp_path) as ben:
        anna.found("Harbour", "Anna")
        admit(anna, BEN)
        assert anna.ledger is not None
        ben.enter(Ledger.of(anna.ledger.entries), anna.keys.current)
        news = admit(anna, CLEO)
        with pytest.raises(MalformedError):
            ben.take([news, CLEO.founds().genesis])
        assert ben.take([news]) == [news]
        assert ben.take([news]) == []
    with store_of(BEN, tmp_path) as ben:
        assert {one.name for one in ben.others} == {"Anna", "Cleo"}


def test_keys_of_the_past_are_dropped(tmp_path: Path) -> None:
    """After a removal only keys of the new number count, also after a restart."""
    with store_of(ANNA, tmp_path) as anna:
        anna.found("Harbour", "Anna")
        admit(anna, BEN)
        old = anna.keys.current[0]
        anna.sign(Remove(BEN.public, "forgotten"))
        assert anna.keys.current == ()
        assert anna.take_keys([old]) == []
        new = anna.make_key()
        assert anna.take_keys([new, EpochKey(1, 0, b"x" * 16, b"s" * 32)]) == [EpochKey(1, 0, b"x" * 16, b"s" * 32)]
    with store_of(ANNA, tmp_path) as anna:
        assert [key.number for key in anna.keys.keys] == [1, 1]
        assert anna.keys.current[0] == new


def test_another_key_under_a_known_id_is_ignored(tmp_path: Path) -> None:
    """Neither before nor after a restart does it take the place of the one that is held."""
    with store_of(ANNA, tmp_path) as anna:
        anna.found("Harbour", "Anna")
        keys = anna.keys
        [held] = keys.current
        assert anna.take_keys([EpochKey(held.number, held.generation, held.id, b"\xff" * 32)]) == []
        assert anna.keys == keys
    with store_of(ANNA, tmp_path) as anna:
        assert anna.keys == keys


def test_a_database_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """It is refused, not migrated down."""
    path = tmp_path / "Anna.db"
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StorageError, match="later version"):
        CommunityStore(path, identity_of(ANNA))


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    """A foreign file, or a directory that cannot be written."""
    (tmp_path / "Anna.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError):
        CommunityStore(tmp_path / "Anna.db", identity_of(ANNA))
    with pytest.raises(StorageError):
        CommunityStore(tmp_path / "missing" / "Anna.db", identity_of(ANNA))


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """A write that fails leaves seq, ledger and database as they were."""
    with store_of(ANNA, tmp_path) as anna:
        anna.found("Harbour", "Anna")
        (pages,) = anna._database.execute("PRAGMA page_count").fetchone()
        anna._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageError, match="full"):
            admit_many(anna)
        guests = len(anna.others)
        anna._database.execute("PRAGMA max_page_count = 100000")
        admit(anna, BEN)
        assert len(anna.others) == guests + 1
    with store_of(ANNA, tmp_path) as anna:
        assert len(anna.others) == guests + 1


def test_what_cannot_be_written_is_not_known_either(tmp_path: Path) -> None:
    """Entries that came while the disk was full are taken when they come again, and are there after a restart."""
    with store_of(ANNA, tmp_path) as anna, store_of(BEN, tmp_path) as ben:
        anna.found("Harbour", "Anna")
        admit(anna, BEN)
        assert anna.ledger is not None
        ben.enter(Ledger.of(anna.ledger.entries), anna.keys.current)
        news = [admit(anna, Person(f"guest {number}")) for number in range(60)]
        before = ben.membership
        (pages,) = ben._database.execute("PRAGMA page_count").fetchone()
        ben._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageError, match="full"):
            ben.take(news)
        assert ben.membership == before
        assert ben.ledger is not None
        assert news[0].id not in ben.ledger
        ben._database.execute("PRAGMA max_page_count = 100000")
        assert ben.take(news) == news
    with store_of(BEN, tmp_path) as ben:
        assert len(ben.others) == 61


def test_a_full_feed_is_not_added_to(tmp_path: Path) -> None:
    """What no ledger would take is neither signed nor saved."""
    with store_of(ANNA, tmp_path) as anna, store_of(BEN, tmp_path) as ben:
        anna.found("Harbour", "Anna")
        admit(anna, BEN)
        assert anna.ledger is not None
        ben.enter(Ledger.of(anna.ledger.entries), anna.keys.current)
        with pytest.raises(FeedBehindError, match="as much as"):
            remove_many(ben)
        assert ben.ledger is not None
        size = len(ben.ledger)
        ben.sign(Remove(BEN.public, "left"))
        assert ben.membership is None
    with store_of(BEN, tmp_path) as ben:
        assert ben.ledger is not None
        assert len(ben.ledger) == size + 1


def admit_many(store: CommunityStore) -> None:
    """Fill the disk with guests."""
    for number in range(200):
        admit(store, Person(f"guest {number}"))


def remove_many(store: CommunityStore) -> None:
    """Fill the own feed with removals that count for nothing."""
    for number in range(200):
        store.sign(Remove(CLEO.public, f"{number}" + "x" * 190))

"""The database of a node's community, step by step: each migration is one transaction, and never changes later."""

import sqlite3
from typing import Final

from mesh.errors import StorageError

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        # The ledger: parents come first by position.
        """CREATE TABLE entries (position INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, raw BLOB NOT NULL)""",
        """CREATE TABLE epoch_keys (id BLOB PRIMARY KEY, number INTEGER NOT NULL, generation INTEGER NOT NULL,
                                    secret BLOB NOT NULL) WITHOUT ROWID""",
        # The last seq this node signed in a community; it outlives the community here.
        """CREATE TABLE signed (community BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID""",
        # Keys to neighbours' brokers.
        """CREATE TABLE grants (raw_id BLOB PRIMARY KEY, ca BLOB NOT NULL, ctl BLOB NOT NULL,
                                bulk BLOB NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE blocks (raw_id BLOB PRIMARY KEY) WITHOUT ROWID""",
    ),
    (
        # How often the daemon has started: orders its announcements.
        """CREATE TABLE boots (number INTEGER NOT NULL)""",
        """INSERT INTO boots VALUES (0)""",
    ),
    (
        # What the owner said to proposals, by their id.
        """CREATE TABLE answers (proposal BLOB PRIMARY KEY, agrees INTEGER NOT NULL) WITHOUT ROWID""",
    ),
)


def migrate(database: sqlite3.Connection) -> None:
    """Bring the database to this version's form.  Errors: StorageError for one of a later version."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StorageError("the community's database was written by a later version of Hearthmesh")
    for number in range(version, len(MIGRATIONS)):
        database.execute("BEGIN IMMEDIATE")  # sqlite3 opens no transaction before CREATE by itself
        try:
            for statement in MIGRATIONS[number]:
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {number + 1}")
            database.execute("COMMIT")
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")

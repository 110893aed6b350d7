"""The tables of `meta.db`, as the steps that made them. Pure; `meta` runs them.

sqlite's `user_version` counts the steps that were done. Times are seconds, of layers' `created`
nanoseconds; descriptors, lists of layers and origins are JSON.
"""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE layers (
        id TEXT PRIMARY KEY, digest TEXT, descriptor TEXT, diff_id TEXT,
        directory INTEGER NOT NULL, uncompressed_size INTEGER NOT NULL, toc_digest TEXT,
        ordered INTEGER NOT NULL, origins TEXT NOT NULL, created INTEGER NOT NULL,
        used REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX layers_by_digest ON layers (digest);
    CREATE TABLE records (
        key TEXT PRIMARY KEY, layers TEXT NOT NULL, description TEXT NOT NULL,
        created REAL NOT NULL, used REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE memos (
        kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, used REAL NOT NULL,
        PRIMARY KEY (kind, key)
    ) WITHOUT ROWID;
    CREATE TABLE files (
        dev INTEGER, ino INTEGER, size INTEGER, mtime INTEGER, ctime INTEGER,
        digest TEXT NOT NULL, PRIMARY KEY (dev, ino)
    ) WITHOUT ROWID;
    CREATE TABLE images (
        name TEXT PRIMARY KEY, descriptor TEXT NOT NULL, created REAL NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE files ADD COLUMN used REAL NOT NULL DEFAULT 0;
    """,
)


def steps(done: int) -> list[str]:
    """The statements that are missing in a database where `done` steps were taken."""
    text = "".join(MIGRATIONS[done:])
    return [statement.strip() for statement in text.split(";") if statement.strip()]

"""The store's table of facts: layers, cache records, memos, file digests, image names, leases.

The only door to sqlite. Nothing in here is the only copy of what a blob needs to be read: losing
the database costs cache hits and names (which `index.json` still has). Each method is one short
transaction; connections are per thread, and processes wait for one another.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lazybuild.errors import HostError, ResourceError
from lazybuild.oci import codec
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import DiffID, Digest

VERSION = 1
BUSY_SECONDS = 60
RENEW_AFTER = 60.0

_SCHEMA = """
CREATE TABLE layers (
    id TEXT PRIMARY KEY, digest TEXT, descriptor TEXT, diff_id TEXT, directory INTEGER NOT NULL,
    uncompressed_size INTEGER NOT NULL, toc_digest TEXT, ordered INTEGER NOT NULL,
    origins TEXT NOT NULL, created INTEGER NOT NULL, used REAL NOT NULL
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
    dev INTEGER, ino INTEGER, size INTEGER, mtime INTEGER, ctime INTEGER, digest TEXT NOT NULL,
    PRIMARY KEY (dev, ino)
) WITHOUT ROWID;
CREATE TABLE images (
    name TEXT PRIMARY KEY, descriptor TEXT NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
"""

_LAYER = (
    "id, descriptor, diff_id, directory, uncompressed_size, toc_digest, ordered, origins, created"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A snapshot layer. It has a `directory` (complete, in the store), a blob (`descriptor`, local
    or in one of the repositories `origins`), or both.

    `ordered` says that the blob's files stand in a wanted order; `created` is in nanoseconds.
    """

    id: str
    descriptor: Descriptor | None = None
    diff_id: DiffID | None = None
    directory: bool = False
    uncompressed_size: int = 0
    toc_digest: str | None = None
    ordered: bool = False
    origins: tuple[str, ...] = ()
    created: int = 0


class Record(NamedTuple):
    """A cache record: the layers that a key stands for. Times in seconds."""

    key: str
    layers: tuple[str, ...]
    description: str
    created: float
    used: float


class FileState(NamedTuple):
    """What a file of the host looked like when its digest was taken."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Meta:
    """The database `meta.db` of a store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        with self._write() as db:
            _migrate(db, path)

    def close(self) -> None:
        with self._guard:
            while self._all:
                self._all.pop().close()

    # --- layers ----------------------------------------------------------------------------------

    def layer(self, layer_id: str) -> Layer | None:
        return next(self._layers("id = ?", layer_id), None)

    def layer_by_digest(self, digest: Digest) -> Layer | None:
        return next(self._layers("digest = ?", digest), None)

    def layers(self) -> list[Layer]:
        return list(self._layers("1 = 1"))

    def put_layer(self, layer: Layer) -> None:
        descriptor = layer.descriptor
        row = (
            layer.id,
            descriptor.digest if descriptor else None,
            codec.encode(descriptor).decode() if descriptor else None,
            layer.diff_id,
            layer.directory,
            layer.uncompressed_size,
            layer.toc_digest,
            layer.ordered,
            json.dumps(layer.origins),
            layer.created or time.time_ns(),
            time.time(),
        )
        with self._write() as db:
            db.execute(f"REPLACE INTO layers VALUES ({_marks(row)})", row)  # noqa: S608 - marks only

    def delete_layer(self, layer_id: str) -> None:
        with self._write() as db:
            db.execute("DELETE FROM layers WHERE id = ?", (layer_id,))

    def _layers(self, where: str, *values: str) -> Iterator[Layer]:
        rows = self._db().execute(f"SELECT {_LAYER} FROM layers WHERE {where}", values)  # noqa: S608 - our own text
        for row in rows.fetchall():
            yield _layer(row)

    # --- cache records ---------------------------------------------------------------------------

    def load_record(self, key: str) -> tuple[str, ...] | None:
        found = self._db().execute("SELECT layers, used FROM records WHERE key = ?", (key,))
        row = found.fetchone()
        if row is None:
            return None
        if time.time() - row[1] > RENEW_AFTER:
            with self._write() as db:
                db.execute("UPDATE records SET used = ? WHERE key = ?", (time.time(), key))
        return tuple(json.loads(row[0]))

    def save_record(self, key: str, layers: Sequence[str], description: str) -> None:
        now = time.time()
        with self._write() as db:
            db.execute(
                "REPLACE INTO records VALUES (?, ?, ?, ?, ?)",
                (key, json.dumps(list(layers)), description, now, now),
            )

    def delete_record(self, key: str) -> None:
        with self._write() as db:
            db.execute("DELETE FROM records WHERE key = ?", (key,))

    def records(self) -> list[Record]:
        rows = self._db().execute("SELECT key, layers, description, created, used FROM records")
        return [Record(row[0], tuple(json.loads(row[1])), *row[2:]) for row in rows.fetchall()]

    def has_records(self) -> bool:
        return self._db().execute("SELECT 1 FROM records LIMIT 1").fetchone() is not None

    # --- memos -----------------------------------------------------------------------------------

    def memo_get(self, kind: str, key: str) -> str | None:
        found = self._db().execute(
            "SELECT value FROM memos WHERE kind = ? AND key = ?", (kind, key)
        )
        row = found.fetchone()
        return str(row[0]) if row else None

    def memo_put(self, kind: str, key: str, value: str) -> None:
        with self._write() as db:
            db.execute("REPLACE INTO memos VALUES (?, ?, ?, ?)", (kind, key, value, time.time()))

    def memos(self, kind: str) -> dict[str, str]:
        rows = self._db().execute("SELECT key, value FROM memos WHERE kind = ?", (kind,))
        return dict(rows.fetchall())

    def forget_memos(self, *, before: float) -> None:
        """Drop what was written before a time (seconds): memos and file digests cost only time."""
        with self._write() as db:
            db.execute("DELETE FROM memos WHERE used < ?", (before,))

    # --- digests of the host's files -------------------------------------------------------------

    def file_digests(self, states: Sequence[FileState]) -> Mapping[FileState, str]:
        """Those of the given states that are known."""
        found: dict[FileState, str] = {}
        wanted = {(state.dev, state.ino): state for state in states}
        for device in {state.dev for state in states}:
            inodes = [ino for dev, ino in wanted if dev == device]
            for part in _parts(inodes, 500):
                for row in self._files(device, part):
                    state = FileState(*row[:5])
                    if wanted[state.dev, state.ino] == state:
                        found[wanted[state.dev, state.ino]] = row[5]
        return found

    def _files(
        self, device: int, inodes: Sequence[int]
    ) -> list[tuple[int, int, int, int, int, str]]:
        query = f"SELECT * FROM files WHERE dev = ? AND ino IN ({_marks(inodes)})"  # noqa: S608 - marks only
        return self._db().execute(query, (device, *inodes)).fetchall()

    def put_file_digests(self, digests: Mapping[FileState, str]) -> None:
        rows = [(*state, digest) for state, digest in digests.items()]
        with self._write() as db:
            db.executemany("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)

    # --- images ----------------------------------------------------------------------------------

    def image(self, name: str) -> Descriptor | None:
        found = self._db().execute("SELECT descriptor FROM images WHERE name = ?", (name,))
        row = found.fetchone()
        return codec.parse_descriptor(row[0].encode()) if row else None

    def images(self) -> dict[str, tuple[Descriptor, float]]:
        """Name to descriptor and the time it was named, in seconds."""
        rows = self._db().execute("SELECT name, descriptor, created FROM images ORDER BY name")
        return {
            name: (codec.parse_descriptor(text.encode()), created)
            for name, text, created in rows.fetchall()
        }

    def put_image(self, name: str, descriptor: Descriptor) -> None:
        text = codec.encode(descriptor).decode()
        with self._write() as db:
            db.execute("REPLACE INTO images VALUES (?, ?, ?)", (name, text, time.time()))

    def delete_image(self, name: str) -> bool:
        with self._write() as db:
            return db.execute("DELETE FROM images WHERE name = ?", (name,)).rowcount > 0

    # --- connections -----------------------------------------------------------------------------

    def _db(self) -> sqlite3.Connection:
        known: sqlite3.Connection | None = getattr(self._local, "db", None)
        if known is None:
            known = self._local.db = _open(self._path)
            with self._guard:
                self._all.append(known)
        return known

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        db = self._db()
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(db)
            raise _explained(self._path, error) from error
        except BaseException:
            _roll_back(db)
            raise


def _open(path: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error as error:
        raise _explained(path, error) from error
    return db


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    if version > VERSION:
        raise HostError(
            f"{path} was written by a newer lazybuild (version {version})",
            hint="use that one, or another --root",
        )
    for statement in _SCHEMA.split(";"):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {VERSION}")


def _roll_back(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        db.execute("ROLLBACK")


def _explained(path: Path, error: sqlite3.Error) -> HostError | ResourceError:
    text = str(error)
    if "full" in text or "memory" in text:
        return ResourceError(f"{path}: {text}", hint="make room or run `lazybuild prune`")
    return HostError(f"can't use the store's database {path}: {text}")


def _layer(row: Sequence[object]) -> Layer:
    layer_id, descriptor, diff_id, directory, size, toc_digest, ordered, origins, created = row
    return Layer(
        id=str(layer_id),
        descriptor=codec.parse_descriptor(str(descriptor).encode()) if descriptor else None,
        diff_id=DiffID(str(diff_id)) if diff_id else None,
        directory=bool(directory),
        uncompressed_size=int(str(size)),
        toc_digest=str(toc_digest) if toc_digest else None,
        ordered=bool(ordered),
        origins=tuple(json.loads(str(origins))),
        created=int(str(created)),
    )


def _marks(items: Iterable[object]) -> str:
    return ",".join("?" for _ in items)


def _parts(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]

"""The store's table of facts: layers, cache records, memos, file digests, image names, leases.

The only door to sqlite. Nothing in here is the only copy of what a blob needs to be read: losing
the database costs cache hits and names (which `index.json` still has). Each method is one short
transaction; connections are per thread, and processes wait for one another. What is looked up is
marked as used, no finer than `RENEW_AFTER`; that is what keeps the collector away (see `gc`).
"""

import json
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lazybuild.errors import HostError, IntegrityError, ResourceError
from lazybuild.oci import codec
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import DiffID, Digest
from lazybuild.store import lock, schema

BUSY_SECONDS = 60
_BEST = "ORDER BY directory DESC, id LIMIT 1"
RENEW_AFTER = 60.0
OF_A_LAYER = "layer-"

_FILE = "ino, size, mtime, ctime, digest"
_LISTED = "(SELECT value FROM json_each(?))"
_FORGET_LAYER = f"DELETE FROM memos WHERE kind GLOB '{OF_A_LAYER}*' AND key = ?"  # noqa: S608 - our own text
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


class LayerUse(NamedTuple):
    """A layer and when it was last used, in seconds."""

    layer: Layer
    used: float


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
        with _explained(path):
            if _version(self._db()) != len(schema.MIGRATIONS):
                _migrate(self._db(), path)

    def close(self) -> None:
        with self._guard:
            while self._all:
                self._all.pop().close()

    # --- layers ----------------------------------------------------------------------------------

    def layer(self, layer_id: str) -> Layer | None:
        return next(iter(self._used_layers("id = ?", layer_id)), None)

    def layer_by_digest(self, digest: Digest) -> Layer | None:
        """A layer with this blob; one that has a directory, too, before one that has not."""
        return next(iter(self._used_layers(f"digest = ? {_BEST}", digest)), None)

    def layer_of(self, digest: Digest, toc_digest: str | None) -> Layer | None:
        """As `layer_by_digest`, but one that is read through this TOC, or through none."""
        where = f"digest = ? AND toc_digest IS ? {_BEST}"
        return next(iter(self._used_layers(where, digest, toc_digest)), None)

    def layers(self) -> list[LayerUse]:
        """Every layer; marks none as used."""
        return self._layers("1 = 1")

    def has_layer(self, layer_id: str) -> bool:
        """Whether there is such a layer; marks it not as used."""
        return self._one("SELECT 1 FROM layers WHERE id = ?", layer_id) is not None

    def has_digest(self, digest: Digest) -> bool:
        """Whether a layer has this blob; marks none as used."""
        return self._one("SELECT 1 FROM layers WHERE digest = ? LIMIT 1", digest) is not None

    def put_layer(self, layer: Layer) -> None:
        descriptor = layer.descriptor
        row = (
            layer.id,
            _digest(layer),
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
            db.execute(_FORGET_LAYER, (layer_id,))

    def drop_unused_layers(self, *, before: float, pinned: Collection[str]) -> list[Layer]:
        """Forget, and return, the layers that nobody used since, that no record holds and whose
        blobs are not `pinned`.
        """
        with self._write() as db:
            held = {
                layer_id
                for (text,) in db.execute("SELECT layers FROM records")
                for layer_id in json.loads(text)
            }
            dropped = [
                layer
                for layer, _ in self._layers("used < ?", before)
                if layer.id not in held and (_digest(layer) or "") not in pinned
            ]
            gone = [(layer.id,) for layer in dropped]
            db.executemany("DELETE FROM layers WHERE id = ?", gone)
            db.executemany(_FORGET_LAYER, gone)
        return dropped

    def _layers(self, where: str, *values: str | float | None) -> list[LayerUse]:
        query = f"SELECT {_LAYER}, used FROM layers WHERE {where}"  # noqa: S608 - our own text
        return [LayerUse(_layer(row[:-1]), row[-1]) for row in self._all_rows(query, *values)]

    def _used_layers(self, where: str, *values: str | None) -> list[Layer]:
        found = self._layers(where, *values)
        stale = [layer.id for layer, used in found if used < time.time() - RENEW_AFTER]
        if stale:
            with self._write() as db:
                _mark(db, stale)
        return [layer for layer, _ in found]

    # --- cache records ---------------------------------------------------------------------------

    def load_record(self, key: str) -> tuple[str, ...] | None:
        """The layers that a key stands for, if all of them are known."""
        row = self._one("SELECT layers, used FROM records WHERE key = ?", key)
        if row is None:
            return None
        layers = tuple(json.loads(row[0]))
        query = f"SELECT id, used FROM layers WHERE id IN {_LISTED}"  # noqa: S608 - our own text
        marks = dict(self._all_rows(query, row[0]))
        if not marks.keys() >= set(layers):
            return None
        if min([row[1], *marks.values()]) >= time.time() - RENEW_AFTER:
            return layers
        with self._write() as db:
            return layers if _mark_record(db, key, layers) else None

    def save_record(self, key: str, layers: Sequence[str], description: str) -> None:
        now = time.time()
        with self._write() as db:
            db.execute(
                "REPLACE INTO records VALUES (?, ?, ?, ?, ?)",
                (key, json.dumps(list(layers)), description, now, now),
            )

    def drop_records(self, keys: Iterable[str], *, before: float) -> list[str]:
        """Forget, and return, those of the records that nobody used since."""
        query = "DELETE FROM records WHERE key = ? AND used < ?"
        with self._write() as db:
            return [key for key in keys if db.execute(query, (key, before)).rowcount]

    def records(self) -> list[Record]:
        """Every record, least recently used first; marks none as used."""
        query = "SELECT key, layers, description, created, used FROM records ORDER BY used, key"
        rows = self._all_rows(query)
        return [Record(row[0], tuple(json.loads(row[1])), *row[2:]) for row in rows]

    def has_records(self) -> bool:
        return self._one("SELECT 1 FROM records LIMIT 1") is not None

    # --- memos -----------------------------------------------------------------------------------
    # A memo whose kind begins with OF_A_LAYER has the layer's id as its key, and goes with it.

    def memo_get(self, kind: str, key: str) -> str | None:
        row = self._one("SELECT value FROM memos WHERE kind = ? AND key = ?", kind, key)
        return str(row[0]) if row else None

    def memo_put(self, kind: str, key: str, value: str) -> None:
        self.put_memos(kind, {key: value})

    def put_memos(self, kind: str, values: Mapping[str, str]) -> None:
        rows = [(kind, key, value, time.time()) for key, value in values.items()]
        with self._write() as db:
            db.executemany("REPLACE INTO memos VALUES (?, ?, ?, ?)", rows)

    def memos(self, kind: str) -> dict[str, str]:
        return dict(self._all_rows("SELECT key, value FROM memos WHERE kind = ?", kind))

    def forget(self, *, before: float) -> None:
        """Drop memos and file digests written before a time (seconds): they cost only time."""
        with self._write() as db:
            db.execute("DELETE FROM memos WHERE used < ?", (before,))
            db.execute("DELETE FROM files WHERE used < ?", (before,))

    # --- digests of the host's files -------------------------------------------------------------

    def file_digests(self, states: Sequence[FileState]) -> Mapping[FileState, str]:
        """Those of the given states that are known."""
        found: dict[FileState, str] = {}
        for device in {state.dev for state in states}:
            wanted = {state.ino: state for state in states if state.dev == device}
            inodes = json.dumps([_signed(inode) for inode in wanted])
            query = f"SELECT {_FILE} FROM files WHERE dev = ? AND ino IN {_LISTED}"  # noqa: S608 - our own text
            for inode, *times, digest in self._all_rows(query, _signed(device), inodes):
                state = wanted[inode % (1 << 64)]
                if state[2:] == tuple(times):
                    found[state] = digest
        return found

    def put_file_digests(self, digests: Mapping[FileState, str]) -> None:
        rows = [
            (_signed(state.dev), _signed(state.ino), *state[2:], digest, time.time())
            for state, digest in digests.items()
        ]
        with self._write() as db:
            db.executemany("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    # --- images ----------------------------------------------------------------------------------

    def image(self, name: str) -> Descriptor | None:
        row = self._one("SELECT descriptor FROM images WHERE name = ?", name)
        return codec.parse_descriptor(row[0].encode()) if row else None

    def images(self) -> dict[str, tuple[Descriptor, float]]:
        """Name to descriptor and the time it was named, in seconds."""
        rows = self._all_rows("SELECT name, descriptor, created FROM images ORDER BY name")
        return {
            name: (codec.parse_descriptor(text.encode()), created) for name, text, created in rows
        }

    def put_image(self, name: str, descriptor: Descriptor) -> None:
        self.put_images({name: descriptor})

    def put_images(self, images: Mapping[str, Descriptor]) -> None:
        rows = [(name, codec.encode(item).decode(), time.time()) for name, item in images.items()]
        with self._write() as db:
            db.executemany("REPLACE INTO images VALUES (?, ?, ?)", rows)

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

    def _all_rows(self, query: str, *values: str | float | None) -> list[tuple[Any, ...]]:
        with _explained(self._path):
            return self._db().execute(query, values).fetchall()

    def _one(self, query: str, *values: str | float | None) -> tuple[Any, ...] | None:
        return next(iter(self._all_rows(query, *values)), None)

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with _explained(self._path), _transaction(self._db()) as db:
            yield db


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    newest = len(schema.MIGRATIONS)
    with lock.held(path.with_suffix(".lock")):  # two that change the journal's mode don't wait
        db.execute("PRAGMA journal_mode = WAL")
    with _transaction(db):
        version = _version(db)
        if version > newest:
            raise HostError(
                f"{path} was written by a newer lazybuild (version {version})",
                hint="use that one, or another --root",
            )
        for statement in schema.steps(version):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {newest}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "full" in text or "memory" in text:
            hint = "make room or run `lazybuild prune`"
            raise ResourceError(f"{path}: {text}", hint=hint) from error
        if "malformed" in text or "not a database" in text:
            hint = f"remove {path}: the build cache is lost, the images are not"
            raise IntegrityError(f"{path} is damaged: {text}", hint=hint) from error
        raise HostError(f"can't use the store's database {path}: {text}") from error


def _mark(db: sqlite3.Connection, layers: Collection[str]) -> int:
    """Mark layers as used; returns how many there are."""
    query = f"UPDATE layers SET used = ? WHERE id IN {_LISTED}"  # noqa: S608 - our own text
    return db.execute(query, (time.time(), json.dumps(list(layers)))).rowcount


def _mark_record(db: sqlite3.Connection, key: str, layers: Sequence[str]) -> bool:
    """Mark a record and its layers as used, if they are all still there."""
    found = db.execute("UPDATE records SET used = ? WHERE key = ?", (time.time(), key)).rowcount
    return bool(found) and _mark(db, layers) == len(set(layers))


def _digest(layer: Layer) -> Digest | None:
    return layer.descriptor.digest if layer.descriptor else None


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


def _signed(number: int) -> int:
    """As sqlite keeps a number of 64 bits."""
    return number - (1 << 64) if number >= 1 << 63 else number

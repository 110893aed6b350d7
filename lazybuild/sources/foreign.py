"""Files that somebody else wrote, by their names: of a directory or of an archive."""

from collections.abc import Callable
from dataclasses import dataclass

from lazybuild.errors import IntegrityError, UsageError
from lazybuild.oci import digest as digests
from lazybuild.oci.digest import Digest
from lazybuild.snapshots.filehash import sha256_of
from lazybuild.store import Place, Store

MAX_JSON = 4 << 20
MEMO = "foreign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """`find` gives a regular file, or None; `lasting` is False for what is removed after use."""

    title: str
    find: Callable[[str], Place | None]
    lasting: bool = True


def read_json(files: Foreign, name: str) -> bytes:
    """A small file whole."""
    place = files.find(name)
    if place is None:
        raise UsageError(f"{files.title}: there is no {name} in it")
    if place.size > MAX_JSON:
        raise IntegrityError(f"{files.title}: {name} has more than {MAX_JSON >> 20} MiB")
    with place.open() as file:
        return file.read()


def digest_at(store: Store, place: Place) -> Digest:
    """Of the bytes at a place, computed once for as long as the file stays as it is."""
    key = f"{place.path}:{place.offset}+{place.size}:{place.stamp}"
    known = store.meta.memo_get(MEMO, key)
    if known is None:
        with place.open() as file:
            known = sha256_of(file)
        store.meta.memo_put(MEMO, key, known)
    return digests.parse(known)


def blob_name(digest: Digest) -> str:
    return f"blobs/sha256/{digests.hex_part(digest)}"

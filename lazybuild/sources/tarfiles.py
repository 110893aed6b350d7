"""The members of a tar archive as `Foreign` files: only their places are looked up.

A compressed archive can't be read from the middle, so it is unfolded into the store's scratch
space first, within bounds. Links inside the archive are followed there and nowhere else.
"""

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lazybuild.errors import IntegrityError
from lazybuild.estargz import names, tar
from lazybuild.estargz.entry import Entry, Kind
from lazybuild.estargz.streams import Caps, decompress, kind_of
from lazybuild.sources.foreign import Foreign
from lazybuild.store import Place, Store
from lazybuild.store.disk import translated
from lazybuild.store.places import place_of

LIMITS = tar.Limits(entries=100_000)
MAX_LINKS = 8
_PIECE = 1 << 20


@contextmanager
def opened(store: Store, path: Path) -> Iterator[Foreign]:
    """The members of an archive; those of a compressed one until the context ends."""
    whole = place_of(path)
    with whole.open() as archive:
        packed = kind_of(archive)
        if not packed:
            yield members(whole, path)
            return
        with store.scratch.directory("archive") as home:
            plain = home / "tar"
            content = decompress(archive, Caps(ratio=1100))
            with translated(plain), plain.open("wb") as out:
                while piece := content.read(_PIECE):
                    out.write(piece)
            yield members(place_of(plain), path, lasting=False)


def members(whole: Place, title: Path, *, lasting: bool = True) -> Foreign:
    """Of a plain archive in a file. IntegrityError names the member that is wrong."""
    found: dict[str, tuple[Entry, Place | None]] = {}
    try:
        with whole.open() as archive:
            for span in tar.spans(archive, LIMITS):
                dense = span.entry.kind is Kind.REG and span.holes is None
                place = whole.part(span.offset, span.entry.size) if dense else None
                found[span.entry.name] = span.entry, place
    except IntegrityError as error:
        raise IntegrityError(f"{title}: {error.message}") from error

    def find(name: str) -> Place | None:
        for _ in range(MAX_LINKS):
            entry, place = found.get(name, (None, None))
            if entry is None or entry.kind not in (Kind.SYMLINK, Kind.HARDLINK):
                return place
            name = _target(entry)
        raise IntegrityError(f"{title}: links in a circle at {names.shown(name)}")

    return Foreign(title=str(title), find=find, lasting=lasting)


def _target(entry: Entry) -> str:
    """What a link leads to, as a name in the archive: one that leads out is none there."""
    above = posixpath.dirname(entry.name) if entry.kind is Kind.SYMLINK else ""
    return posixpath.normpath(posixpath.join(above, entry.link or ""))

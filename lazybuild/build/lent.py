"""Images and caches of this machine as a BuildKit may have them: by digest, under made-up names.

The daemon learns no path of this machine, and reads no blob that the build did not name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lazybuild.build.inputs import Inputs
from lazybuild.errors import BuildError, UsageError
from lazybuild.events import Sink, Warned
from lazybuild.exchange.layout import Layout
from lazybuild.oci import codec
from lazybuild.oci import digest as digests
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import Index
from lazybuild.request import BuildRequest, CacheSpec
from lazybuild.store import Store
from lazybuild.wire.contents import Contents
from lazybuild.wire.control import Attrs

LAYOUT = "oci-layout://"
IMAGES, CACHES = "oci:", "local:"
MANIFEST = "cache.manifest"


class StoredImage:
    """An image of the store, and nothing else of it."""

    def __init__(self, store: Store, top: Digest) -> None:
        self._store = store
        self._known = set(_reachable(store, top))

    def size(self, digest: Digest) -> int | None:
        here = digest in self._known and self._store.blobs.has(digest)
        return self._store.blobs.size(digest) if here else None

    def open(self, digest: Digest) -> BinaryIO:
        return self._store.blobs.open(digest)

    def ingest(self) -> None:
        return None


def _reachable(store: Store, top: Digest) -> Iterable[Digest]:
    yield top
    document = codec.parse_document(store.blobs.read(top))
    if isinstance(document, Index):
        for item in document.manifests:
            if store.blobs.has(item.digest):
                yield from _reachable(store, item.digest)
        return
    yield from (document.config.digest, *(layer.digest for layer in document.layers))


def images(store: Store, inputs: Iterable[Inputs]) -> Mapping[str, Contents]:
    """The images that contexts name as `oci-layout://NAME@DIGEST`."""
    found: dict[str, Contents] = {}
    for given in inputs:
        for value in given.contexts.values():
            if value.startswith(LAYOUT):
                name, _, digest = value.removeprefix(LAYOUT).partition("@")
                found[IMAGES + name] = StoredImage(store, digests.parse(digest))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Caches:
    """What the daemon is told of the caches of a build, and the directories among them by name."""

    imports: tuple[tuple[str, Attrs], ...] = ()
    exports: tuple[tuple[str, Attrs], ...] = ()
    contents: Mapping[str, Contents] = field(default_factory=dict)
    written: Sequence[tuple[Layout, str]] = ()

    def finish(self, said: Mapping[str, str]) -> None:
        """Let the tags of the written directories mean what the daemon has put there."""
        if not self.written:
            return
        try:
            entry = codec.parse_descriptor(said[MANIFEST].encode())
        except KeyError as error:
            raise BuildError("BuildKit wrote no cache") from error
        for layout, tag in self.written:
            layout.point(tag, entry)


def caches(request: BuildRequest, sink: Sink) -> Caches:
    """A cache that can't be read is left out with a warning, unless it is wanted strictly."""
    imports: list[tuple[str, Attrs]] = []
    exports: list[tuple[str, Attrs]] = []
    contents: dict[str, Contents] = {}
    written: list[tuple[Layout, str]] = []
    for number, spec in enumerate(request.cache_from):
        attrs = {"ref": spec.place} if spec.place else {}
        if spec.type == "local":
            digest = _digest(spec, request, sink)
            if digest is None:
                continue
            name = f"from-{number}"
            contents[CACHES + name] = Layout(Path(spec.place))
            attrs = {"src": name, "digest": digest}
        imports.append((spec.type, attrs))
    for number, spec in enumerate(request.cache_to):
        attrs = {"ref": spec.place} if spec.place else {}
        if spec.type == "local":
            name, layout = f"to-{number}", Layout(Path(spec.place))
            contents[CACHES + name] = layout
            written.append((layout, spec.tag))
            attrs = {"dest": name}
        exports.append((spec.type, {"mode": spec.mode, **attrs, **_lenient(spec, request)}))
    return Caches(
        imports=tuple(imports), exports=tuple(exports), contents=contents, written=tuple(written)
    )


def _lenient(spec: CacheSpec, request: BuildRequest) -> Attrs:
    return {} if spec.strict or request.cache_strict else {"ignore-error": "true"}


def _digest(spec: CacheSpec, request: BuildRequest, sink: Sink) -> str | None:
    found = spec.digest or Layout(Path(spec.place)).tagged(spec.tag)
    if found is None:
        message = f"cache {spec.place}: there is no {spec.tag!r} in it"
        if spec.strict or request.cache_strict:
            raise UsageError(message)
        sink(Warned(message=message))
    return found

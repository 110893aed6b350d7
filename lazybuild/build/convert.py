"""An existing image in another format: each layer decompressed, ordered and written again.

A layer is streamed through, or by way of a file of the store's scratch space when some of its files
are to come first, so that memory does not grow with it.
Everything else of the image stays: history, container config, platform. The result is in the store.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

from lazybuild.build.library import Found, Library
from lazybuild.build.space import Space
from lazybuild.build.wanted import Wanted
from lazybuild.errors import IntegrityError
from lazybuild.estargz import tar
from lazybuild.estargz.ahead import ReadAhead
from lazybuild.estargz.entry import Item
from lazybuild.estargz.names import OWN_NAMES
from lazybuild.estargz.streams import Caps, decompress
from lazybuild.estargz.writer import (
    NotUtf8Error,
    Output,
    WriterOptions,
    Written,
    write_layer,
    write_plain,
)
from lazybuild.events import Noted, Warned
from lazybuild.oci import codec
from lazybuild.oci.descriptor import OCI_CONFIG, Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.oci.image import Manifest
from lazybuild.sources.images import Image
from lazybuild.sources.images import layer_id as new_id
from lazybuild.store import Layer

PIECE = 1 << 20
RATIO = 1100


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The new image; sizes of its layers before and after, `kept` are those left as they were."""

    descriptor: Descriptor
    before: int
    after: int
    kept: int


def convert(
    space: Space,
    image: Image,
    wanted: Wanted,
    options: WriterOptions,
    *,
    reuse: bool = False,
) -> Converted:
    """Write the layers of an image for one platform anew, the bottom one first."""
    snapshot = Library(space).snapshot(image)
    made: list[tuple[Descriptor, DiffID]] = []
    kept = 0
    for number, layer_id in enumerate(snapshot.layers):
        layer = space.store.meta.layer(layer_id)
        if layer is None or layer.descriptor is None:
            raise IntegrityError(f"layer {layer_id} of {image.reference} has no blob")
        descriptor = image.manifest.layers[number]
        if reuse and layer.toc_digest and not wanted.speaks_of(number):
            made.append((descriptor, image.config.diff_ids[number]))
            kept += 1
            continue
        hot = partial(wanted.of, number) if wanted.speaks_of(number) else None
        new = rewritten(space, layer, image.config.diff_ids[number], hot, options)
        made.append((new.descriptor, new.diff_id))
        space.sink(Noted(message=_told(number, layer.descriptor, new.descriptor)))
    return Converted(
        descriptor=image_of(space, image, made),
        before=sum(item.size for item in image.manifest.layers),
        after=sum(descriptor.size for descriptor, _ in made),
        kept=kept,
    )


def platforms(space: Space, found: Found) -> Iterator[Image]:
    """Every image for a platform that a name stands for; statements about images are none."""
    library = Library(space)
    for descriptor, data in library.manifests(found):
        document = codec.parse_document(data, descriptor.media_type)
        if isinstance(document, Manifest) and _is_image(descriptor):
            yield library.image(replace(found, descriptor=descriptor))


def _is_image(descriptor: Descriptor) -> bool:
    return (descriptor.platform or {}).get("os") != "unknown"


# --- one layer -----------------------------------------------------------------------------------

# Of the names of a layer those that come first.
Hot = Callable[[Sequence[str]], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """A layer in another format; `id` is that of its row in the store."""

    id: str
    descriptor: Descriptor
    diff_id: DiffID
    hot: Sequence[str]


def rewritten(
    space: Space, layer: Layer, diff_id: DiffID, hot: Hot | None, options: WriterOptions
) -> Rewritten:
    """Write a layer anew, its wanted files first. `diff_id` is what it must unfold to."""
    content = partial(_content, space, layer, diff_id)
    if hot is None:
        first: Sequence[str] = ()
        written = _write(space, partial(_streamed, content), first, options)
    else:
        first, written = _ordered(space, content, hot, options)
    descriptor, known = _remember(space, written)
    return Rewritten(id=known, descriptor=descriptor, diff_id=written.diff_id, hot=first)


# The bytes of a layer, decompressed; when it is left without an error they were right.
Content = Callable[[], AbstractContextManager[ReadAhead]]
Opened = Callable[[], AbstractContextManager[Iterable[Item]]]


@contextmanager
def _content(space: Space, layer: Layer, diff_id: DiffID) -> Iterator[ReadAhead]:
    with space.blob_stream(layer) as blob:
        with ReadAhead(decompress(blob, Caps(ratio=RATIO))) as plain:
            yield plain
            plain.drain()
        while blob.read(PIECE):
            pass  # a download is verified at its end
        if plain.digest != diff_id:
            raise IntegrityError(f"content of layer {diff_id} is {plain.digest}")


@contextmanager
def _streamed(content: Content) -> Iterator[Iterable[Item]]:
    with content() as plain:
        yield (item for item in tar.read(plain) if item.entry.name not in OWN_NAMES)


def _ordered(
    space: Space, content: Content, hot: Hot, options: WriterOptions
) -> tuple[Sequence[str], Written]:
    """By way of a file, since the first of its files may be the last in the archive."""
    with (
        space.store.scratch.directory("convert") as home,
        (home / "tar").open("w+b") as file,
    ):
        with content() as plain:
            while piece := plain.read(PIECE):
                file.write(piece)
        file.flush()
        items = [item for item in tar.index(file) if item.entry.name not in OWN_NAMES]
        first = hot([item.entry.name for item in items])
        return first, _write(space, lambda: nullcontext(items), first, options)


def _write(space: Space, opened: Opened, hot: Sequence[str], options: WriterOptions) -> Written:
    try:
        return _ingested(space, opened, partial(write_layer, hot=hot, options=options))
    except NotUtf8Error as error:
        space.sink(Warned(message=f"{error.message}; the layer is plain and can't be lazy"))
        return _ingested(space, opened, partial(write_plain, options=options))


def _ingested(
    space: Space, opened: Opened, write: Callable[[Iterable[Item], Output], Written]
) -> Written:
    with space.store.blobs.ingest() as ingest:
        with opened() as items:
            written = write(items, ingest.write)
        ingest.commit(written.digest)
    return written


def _remember(space: Space, written: Written) -> tuple[Descriptor, str]:
    """The new blob as a layer of the store, so that images of it can be mounted."""
    descriptor = Descriptor(
        media_type=written.media_type,
        digest=written.digest,
        size=written.size,
        annotations=written.annotations,
    )
    meta = space.store.meta
    known = meta.layer_of(descriptor.digest, written.toc_digest or None)
    if known is None:
        known = Layer(
            id=new_id(space.store, descriptor.digest, written.toc_digest),
            descriptor=descriptor,
            diff_id=written.diff_id,
            toc_digest=written.toc_digest or None,
            uncompressed_size=written.uncompressed_size,
            ordered=True,
        )
        meta.put_layer(known)
    return descriptor, known.id


def image_of(space: Space, image: Image, made: Sequence[tuple[Descriptor, DiffID]]) -> Descriptor:
    """The manifest of an image with other layers, which are in the same order."""
    config = replace(image.config, diff_ids=tuple(diff_id for _, diff_id in made))
    manifest = Manifest(
        config=_put(space, OCI_CONFIG, codec.encode(config)),
        layers=tuple(descriptor for descriptor, _ in made),
        annotations=image.manifest.annotations,
    )
    return _put(space, manifest.media_type, codec.encode(manifest))


def _put(space: Space, media_type: str, data: bytes) -> Descriptor:
    return Descriptor(media_type=media_type, digest=space.store.blobs.put(data), size=len(data))


def _told(number: int, old: Descriptor, new: Descriptor) -> str:
    return f"layer {number + 1}: {old.size / 1e6:.1f} MB -> {new.size / 1e6:.1f} MB {new.digest}"

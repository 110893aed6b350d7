"""Images out of OCI layouts, directories or archives: manifests and configs are copied into the
store, their digests checked; layers stay where they are, and the store notes the place.

Source: OCI image spec, image-layout.md. The layout is foreign: all of it is hostile, and read as
plain files of bounded size. A layer's bytes are checked once, for as long as its file stays.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from lazybuild.errors import IntegrityError, UsageError
from lazybuild.oci import codec, reference
from lazybuild.oci import digest as digests
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import Index, Manifest
from lazybuild.oci.transport import Kind
from lazybuild.sources import dockerarchive
from lazybuild.sources.foreign import Foreign, blob_name, digest_at, read_json
from lazybuild.sources.tarfiles import opened
from lazybuild.sources.transports import LocalImage
from lazybuild.store import Place, Store
from lazybuild.store.places import place_of

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
INDEX = "index.json"
MAX_DEPTH = 3
_PIECE = 1 << 20


def take_over(store: Store, local: LocalImage) -> Digest:
    """Make an image one of the store's, and give its digest."""
    with _opened(store, local) as found:
        chosen, files = _image(store, found, local)
        for descriptor in _manifests(store, files, chosen, 0):
            _take_document(store, files, descriptor)
    return chosen.digest


@contextmanager
def _opened(store: Store, local: LocalImage) -> Iterator[Foreign]:
    if local.kind is Kind.LAYOUT:
        yield _directory(local.path)
        return
    with opened(store, local.path) as files:
        yield files


def _directory(directory: Path) -> Foreign:
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory")

    def find(name: str) -> Place | None:
        path = directory / name
        if not path.exists() and not path.is_symlink():
            return None
        return place_of(path)

    return Foreign(title=str(directory), find=find)


def _image(store: Store, files: Foreign, local: LocalImage) -> tuple[Descriptor, Foreign]:
    """What is wanted of a layout, and the files to find its blobs in."""
    if local.kind is Kind.DOCKER:
        return _of_docker(store, files, local)
    return _choose(codec.parse_index(read_json(files, INDEX)), local), files


def _of_docker(store: Store, files: Foreign, local: LocalImage) -> tuple[Descriptor, Foreign]:
    """The image that manifest.json names: by the layout beside it, where there is one, because
    only that has annotations, without which no layer is lazy.
    """
    entry = dockerarchive.choose(read_json(files, dockerarchive.MANIFEST), local)
    if files.find(INDEX) is not None:
        for item in codec.parse_index(read_json(files, INDEX)).manifests:
            if files.find(blob_name(item.digest)) is not None:
                document = codec.parse_document(_checked(files, item.digest))
                if isinstance(document, Manifest) and entry.is_of(document):
                    return item, files
    made = dockerarchive.manifest(files, entry, partial(digest_at, store))
    described = codec.describe(made.manifest, codec.encode(made.manifest))
    store.blobs.put(codec.encode(made.manifest))
    return described, replace(files, find=lambda name: made.places.get(name) or files.find(name))


def _choose(index: Index, local: LocalImage) -> Descriptor:
    wanted = local.wanted
    if not wanted and len(index.manifests) == 1:
        return index.manifests[0]
    if (number := local.number) is not None:
        if number < len(index.manifests):
            return index.manifests[number]
        raise UsageError(f"{local}: it has {len(index.manifests)} images")
    for item in index.manifests:
        if _is_called(item, wanted or "latest"):
            return item
    names = {item.annotations.get(REF_NAME, "") for item in index.manifests}
    known = ", ".join(sorted(name for name in names if name)) or "no name"
    raise UsageError(f"{local}: no such image", hint=f"it has {known}")


def _is_called(item: Descriptor, wanted: str) -> bool:
    if wanted in (item.digest, item.annotations.get(REF_NAME)):
        return True
    try:
        return str(reference.parse(wanted)) == item.annotations.get(IMAGE_NAME)
    except UsageError:
        return False


def _manifests(store: Store, files: Foreign, top: Descriptor, depth: int) -> Iterator[Descriptor]:
    """The manifests of an image, each after what it names has been taken over."""
    kept = store.blobs.keeps(top.digest)
    document = codec.parse_document(
        store.blobs.read(top.digest) if kept else _checked(files, top.digest)
    )
    if isinstance(document, Manifest):
        _take_document(store, files, document.config)
        for layer in document.layers:
            _take_layer(store, files, layer)
    elif depth < MAX_DEPTH:
        for item in document.manifests:
            if files.find(blob_name(item.digest)) is not None:
                yield from _manifests(store, files, item, depth + 1)
    yield top


def _take_document(store: Store, files: Foreign, descriptor: Descriptor) -> None:
    if not store.blobs.keeps(descriptor.digest):
        store.blobs.put(_checked(files, descriptor.digest))


def _take_layer(store: Store, files: Foreign, descriptor: Descriptor) -> None:
    """Copy a layer out of files that won't last; of others note the place."""
    if store.blobs.keeps(descriptor.digest):
        return
    place = files.find(blob_name(descriptor.digest))
    if place is None:
        raise UsageError(f"{files.title}: it lacks the layer {descriptor.digest}")
    if place.size != descriptor.size:
        said = f"has {place.size} bytes, its manifest says {descriptor.size}"
        raise IntegrityError(f"{files.title}: {descriptor.digest} {said}")
    if files.lasting:
        _note(store, descriptor.digest, place)
    else:
        _copy(store, descriptor.digest, place)


def _note(store: Store, digest: Digest, place: Place) -> None:
    """Only what is there may stand in for a blob: the store has it for every image, not for one."""
    _compare(place.path, digest_at(store, place), digest)
    store.blobs.places.note(digest, place)


def _copy(store: Store, digest: Digest, place: Place) -> None:
    with place.open() as file, store.blobs.ingest() as ingest:
        while piece := file.read(_PIECE):
            ingest.write(piece)
        ingest.commit(digest)


def _checked(files: Foreign, digest: Digest) -> bytes:
    data = read_json(files, blob_name(digest))
    _compare(files.title, digests.of(data), digest)
    return data


def _compare(where: str, actual: str, expected: Digest) -> None:
    if actual != expected:
        raise IntegrityError(f"{where}: {expected} is {actual}")

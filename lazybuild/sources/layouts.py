"""Images out of an OCI layout on disk, taken over into the store, every digest checked.

Source: OCI image spec, image-layout.md. The layout is foreign: its blobs are read as plain files
of bounded size below its own directory.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lazybuild.errors import IntegrityError, UsageError
from lazybuild.oci import codec
from lazybuild.oci import digest as digests
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import Index, Manifest
from lazybuild.store import Store

REF_NAME = "org.opencontainers.image.ref.name"
MAX_INDEX = 4 << 20
MAX_DEPTH = 3
_PIECE = 1 << 20


def take_over(store: Store, text: str) -> Digest:
    """Copy an image into the store; `text` is DIR, DIR:TAG or DIR@DIGEST. Its digest."""
    directory, wanted = split(text)
    index = codec.parse_index(_small(directory / "index.json"))
    chosen = _choose(index, wanted, text)
    for descriptor in _closure(store, directory, chosen, 0):
        _copy(store, directory, descriptor)
    return chosen.digest


def split(text: str) -> tuple[Path, str]:
    """The directory, and the tag or digest behind it."""
    path, at, digest = text.partition("@")
    if at:
        return Path(path), digests.parse(digest)
    if Path(text).is_dir():
        return Path(text), ""
    name, colon, tag = text.rpartition(":")
    return (Path(name), tag) if colon else (Path(text), "")


def _choose(index: Index, wanted: str, text: str) -> Descriptor:
    named = {item.annotations.get(REF_NAME, ""): item for item in index.manifests}
    by_digest = {str(item.digest): item for item in index.manifests}
    if not wanted and len(index.manifests) == 1:
        return index.manifests[0]
    found = by_digest.get(wanted) or named.get(wanted or "latest")
    if found is None:
        known = ", ".join(sorted(name for name in named if name)) or "no name"
        raise UsageError(f"oci-layout {text}: no such image", hint=f"it has {known}")
    return found


def _closure(store: Store, directory: Path, top: Descriptor, depth: int) -> Iterator[Descriptor]:
    """The blobs of an image, the layers before the manifest that names them."""
    data = _small(_blob(directory, top.digest))
    if digests.of(data) != top.digest:
        raise IntegrityError(f"oci-layout {directory}: {top.digest} is {digests.of(data)}")
    document = codec.parse_document(data)
    if isinstance(document, Manifest):
        yield document.config
        yield from document.layers
    elif depth < MAX_DEPTH:
        for item in document.manifests:
            if _blob(directory, item.digest).exists():
                yield from _closure(store, directory, item, depth + 1)
    yield top


def _copy(store: Store, directory: Path, descriptor: Descriptor) -> None:
    if store.blobs.has(descriptor.digest):
        return
    with _opened(_blob(directory, descriptor.digest)) as file, store.blobs.ingest() as ingest:
        while data := file.read(_PIECE):
            ingest.write(data)
        ingest.commit(descriptor.digest)


def _blob(directory: Path, digest: Digest) -> Path:
    return directory / "blobs" / "sha256" / digests.hex_part(digest)


def _small(path: Path) -> bytes:
    with _opened(path) as file:
        data = file.read(MAX_INDEX + 1)
    if len(data) > MAX_INDEX:
        raise IntegrityError(f"{path}: more than {MAX_INDEX >> 20} MiB of JSON")
    return data


def _opened(path: Path) -> BinaryIO:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"oci-layout: {path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UsageError(f"oci-layout: {path} is not a regular file")
    return os.fdopen(fd, "rb")

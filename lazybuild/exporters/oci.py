"""Images as OCI image layouts: in a tar archive, or in a directory beside what is there already;
one for each platform below an index, where there are several.

Annotations as BuildKit writes them: the full name for containerd, the tag for the others.
Source: OCI image spec, image-layout.md.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from lazybuild.errors import IntegrityError, UsageError
from lazybuild.exporters import archive
from lazybuild.exporters.archive import Member
from lazybuild.exporters.base import ExportedImage, ImageBlob
from lazybuild.exporters.destination import destination
from lazybuild.oci import codec
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest, hex_part
from lazybuild.oci.image import Index

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def export(image: ExportedImage, out: BinaryIO) -> None:
    """Write the image as one archive."""
    archive.write(members(image), out)


def members(image: ExportedImage) -> Iterator[Member]:
    yield Member(name="oci-layout", content=LAYOUT)
    yield Member(name="index.json", content=codec.encode(Index(manifests=_entries(image))))
    for digest, content in sorted(blobs(image).items()):
        yield Member(name=blob_name(digest), content=content)


def blobs(image: ExportedImage) -> dict[Digest, bytes | ImageBlob]:
    """Every blob once."""
    found: dict[Digest, bytes | ImageBlob] = {}
    for one in (image, *image.others):
        found |= {layer.descriptor.digest: layer for layer in one.layers}
        found |= {one.descriptor.digest: one.manifest, one.document().config.digest: one.config}
    if image.index:
        found |= {image.top.digest: image.index, **image.attached}
    return found


def blob_name(digest: Digest) -> str:
    return f"blobs/sha256/{hex_part(digest)}"


def export_directory(image: ExportedImage, dest: Path) -> None:
    """Add the image to the layout at `dest`, made if needed; the index comes last."""
    _check_layout(dest)
    (dest / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    for digest, content in sorted(blobs(image).items()):
        _put_blob(dest / blob_name(digest), content)
    _put_bytes(dest / "oci-layout", LAYOUT)
    index = _merged(dest / "index.json", _entries(image))
    _put_bytes(dest / "index.json", codec.encode(index))


def _check_layout(dest: Path) -> None:
    if dest.exists() and not dest.is_dir():
        raise UsageError(f"can't write {dest}: it is not a directory")
    if dest.is_dir() and any(dest.iterdir()) and not (dest / "oci-layout").is_file():
        raise UsageError(f"{dest} holds other things than an OCI layout")


def _put_blob(path: Path, content: bytes | ImageBlob) -> None:
    size = len(content) if isinstance(content, bytes) else content.descriptor.size
    if path.is_file() and path.stat().st_size == size:
        return
    with destination(str(path)) as out:
        if isinstance(content, bytes):
            out.write(content)
        else:
            archive.copy_blob(content, out)


def _put_bytes(path: Path, data: bytes) -> None:
    with destination(str(path)) as out:
        out.write(data)


def _merged(path: Path, entries: tuple[Descriptor, ...]) -> Index:
    """The index that is there, with our entries in place of those of the same name."""
    if not path.exists():
        return Index(manifests=entries)
    try:
        old = codec.parse_index(path.read_bytes())
    except IntegrityError as error:
        raise UsageError(f"{path} is no index of images: {error.message}") from error
    replaced = {_key(entry) for entry in entries}
    kept = tuple(entry for entry in old.manifests if _key(entry) not in replaced)
    return replace(old, manifests=kept + entries)


def _key(entry: Descriptor) -> tuple[str, str]:
    name = entry.annotations.get(IMAGE_NAME, "")
    return (name, "") if name else (entry.annotations.get(REF_NAME, ""), entry.digest)


def _entries(image: ExportedImage) -> tuple[Descriptor, ...]:
    return tuple(
        replace(
            image.top,
            annotations={IMAGE_NAME: str(name)} | ({REF_NAME: name.tag} if name.tag else {}),
        )
        for name in image.names
    ) or (image.top,)

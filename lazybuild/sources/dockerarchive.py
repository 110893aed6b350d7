"""The manifest.json of what `docker save` writes, and the OCI manifest that it amounts to.

It names a config and layers by paths, and has no digest of a layer's blob: the config's diff IDs
are all that vouches for them, and nothing vouches for a table of contents. Source: moby
image/tarexport; containers/image docker/internal/tarfile.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lazybuild.errors import IntegrityError, UsageError
from lazybuild.estargz.streams import kind_of
from lazybuild.oci import codec, reference
from lazybuild.oci import digest as digests
from lazybuild.oci.descriptor import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    Descriptor,
)
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import Manifest
from lazybuild.sources.foreign import Foreign, blob_name, read_json
from lazybuild.sources.transports import LocalImage
from lazybuild.store import Place

MANIFEST = "manifest.json"
_MEDIA_TYPES = {"": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One image of manifest.json: paths of its config and layers, names."""

    config: str
    layers: tuple[str, ...]
    names: tuple[str, ...]

    def is_of(self, manifest: Manifest) -> bool:
        """Whether a manifest of the layout in the same archive is this image's."""
        layers = tuple(blob_name(layer.digest) for layer in manifest.layers)
        return (blob_name(manifest.config.digest), layers) == (self.config, self.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A manifest, and where the blobs are that it names, by their names in a layout."""

    manifest: Manifest
    places: Mapping[str, Place]


def choose(data: bytes, local: LocalImage) -> Entry:
    """The image that is wanted of an archive."""
    entries = [_entry(item, local) for item in _list(_parsed(data, local), local)]
    if not local.wanted and len(entries) == 1:
        return entries[0]
    if (number := local.number) is not None:
        if number < len(entries):
            return entries[number]
        raise UsageError(f"{local}: it has {len(entries)} images")
    for entry in entries:
        if local.wanted and _full(local.wanted) in map(_full, entry.names):
            return entry
    known = ", ".join(name for entry in entries for name in entry.names) or "no name"
    raise UsageError(f"{local}: no such image", hint=f"it has {known}")


def manifest(files: Foreign, entry: Entry, digest_at: Callable[[Place], Digest]) -> Made:
    """The image as an OCI manifest, made from what the archive says and what its bytes are."""
    data = read_json(files, entry.config)
    diff_ids = codec.parse_config(data).diff_ids
    if len(diff_ids) != len(entry.layers):
        said = f"{len(entry.layers)} layers, but {len(diff_ids)} diff IDs"
        raise IntegrityError(f"{files.title}: {said}")
    places = {blob_name(digests.of(data)): _found(files, entry.config)}
    layers = []
    for name, diff_id in zip(entry.layers, diff_ids, strict=True):
        place = _found(files, name)
        layers.append(_layer(place, Digest(diff_id), digest_at))
        places[blob_name(layers[-1].digest)] = place
    config = Descriptor(media_type=OCI_CONFIG, digest=digests.of(data), size=len(data))
    return Made(manifest=Manifest(config=config, layers=tuple(layers)), places=places)


def _layer(place: Place, diff_id: Digest, digest_at: Callable[[Place], Digest]) -> Descriptor:
    """A plain layer's digest is its diff ID; that of a packed one has to be computed."""
    with place.open() as file:
        packed = kind_of(file)
    digest = digest_at(place) if packed else diff_id
    if packed not in _MEDIA_TYPES:
        raise IntegrityError(f"{place.path}: a layer packed with {packed}")
    return Descriptor(media_type=_MEDIA_TYPES[packed], digest=digest, size=place.size)


def _found(files: Foreign, name: str) -> Place:
    place = files.find(name)
    if place is None:
        raise UsageError(f"{files.title}: there is no {name} in it")
    return place


def _full(name: str) -> str:
    try:
        return str(reference.parse(name))
    except UsageError:
        return name


def _parsed(data: bytes, local: LocalImage) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _bad(local) from error


def _entry(item: object, local: LocalImage) -> Entry:
    if not isinstance(item, dict) or not isinstance(item.get("Config"), str):
        raise _bad(local)
    return Entry(
        config=item["Config"],
        layers=_strings(item.get("Layers"), local),
        names=_strings(item.get("RepoTags"), local),
    )


def _list(value: object, local: LocalImage) -> list[object]:
    if value is None or isinstance(value, list):
        return value or []
    raise _bad(local)


def _strings(value: object, local: LocalImage) -> tuple[str, ...]:
    found = _list(value, local)
    if not all(isinstance(item, str) for item in found):
        raise _bad(local)
    return tuple(map(str, found))


def _bad(local: LocalImage) -> IntegrityError:
    return IntegrityError(f"{local.path}: its {MANIFEST} does not say what images it has")

"""A cache as a document: which layers each key stands for, and the digests that keys are made of.

Hostile bytes in, values out. The layers that the cache brings along are those of its manifest; the
others are named by digest only and have to come from the base images of the build that asks.
Pure; the JSON door of this room.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import msgspec

from lazybuild.errors import IntegrityError
from lazybuild.oci import digest as digests
from lazybuild.oci import times
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.oci.image import ImageConfig, Manifest

ARTIFACT = "application/vnd.lazybuild.cache.v1"
CONFIG = "application/vnd.lazybuild.cache.config.v1+json"
INLINE_KEY = "lazybuild.cache.v1"
VERSION = 1

MAX_BYTES = 16 << 20
MAX_ITEMS = 100_000
MAX_DEPTH = 500
MAX_NAME = 1000

_KEY = re.compile(r"[0-9a-f]{64}\Z")
_VALUE = re.compile(r"[ -~]{1,200}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedLayer:
    """`own`: the cache has the blob; otherwise only a base image has. `created` in nanoseconds."""

    descriptor: Descriptor
    diff_id: DiffID
    own: bool = True
    created: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedRecord:
    """The layers that a key stands for, as places in the document's list, bottom first."""

    layers: tuple[int, ...]
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheDocument:
    """Everything that one cache knows."""

    layers: tuple[CachedLayer, ...] = ()
    records: Mapping[str, CachedRecord] = field(default_factory=dict)
    memos: Mapping[str, str] = field(default_factory=dict)

    def of(self, record: CachedRecord) -> tuple[CachedLayer, ...]:
        return tuple(self.layers[place] for place in record.layers)


class _Layer(msgspec.Struct, rename="camel", omit_defaults=True):
    digest: str
    diff_id: str
    created: int = 0


class _Record(msgspec.Struct, omit_defaults=True):
    key: str
    layers: list[int]
    name: str = ""


class _Document(msgspec.Struct, omit_defaults=True):
    version: int
    layers: list[_Layer] = []
    records: list[_Record] = []
    memos: dict[str, str] = {}


def encode(document: CacheDocument) -> bytes:
    """The same document gives the same bytes."""
    layers = [
        _Layer(digest=layer.descriptor.digest, diff_id=layer.diff_id, created=layer.created)
        for layer in document.layers
    ]
    return msgspec.json.encode(_plain(document, layers))


def parse(data: bytes, manifest: Manifest) -> CacheDocument:
    """A cache by its config and its manifest. Raises IntegrityError."""
    found = _decode(data)
    own: dict[str, Descriptor] = {item.digest: item for item in manifest.layers}
    return _checked(found, [_layer(item, own) for item in found.layers])


def inline(document: CacheDocument) -> Mapping[str, object]:
    """What goes into the config of an image whose layers the document's are, in order."""
    found: dict[str, object] = msgspec.to_builtins(_plain(document, []))
    return {INLINE_KEY: found}


def parse_inline(config: ImageConfig, manifest: Manifest) -> CacheDocument:
    """The cache inside an image. Raises IntegrityError when it has none."""
    raw: Any = config.extra.get(INLINE_KEY)
    if raw is None:
        raise IntegrityError("the image has no cache of lazybuild in it")
    found = _decode(msgspec.json.encode(raw))
    if len(config.diff_ids) != len(manifest.layers):
        raise IntegrityError("an image with another number of layers than of diff IDs")
    made = [line.created for line in config.history if not line.empty_layer]
    layers = [
        CachedLayer(descriptor=item, diff_id=diff_id, created=_time(created))
        for item, diff_id, created in zip_longest(manifest.layers, config.diff_ids, made)
        if item is not None
    ]
    return _checked(found, layers)


def _time(created: str | None) -> int:
    return times.parse_ns(created) if created else 0


def _plain(document: CacheDocument, layers: list[_Layer]) -> _Document:
    records = [
        _Record(key=key, layers=list(record.layers), name=record.name[:MAX_NAME])
        for key, record in sorted(document.records.items())
    ]
    memos = dict(sorted(document.memos.items()))
    return _Document(version=VERSION, layers=layers, records=records, memos=memos)


def _decode(data: bytes) -> _Document:
    if len(data) > MAX_BYTES:
        raise IntegrityError(f"a cache of {len(data)} bytes is over the limit of {MAX_BYTES}")
    try:
        found = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise IntegrityError(f"a cache that makes no sense: {error}") from error
    if found.version != VERSION:
        raise IntegrityError(f"a cache of version {found.version}, this lazybuild knows {VERSION}")
    if max(len(found.layers), len(found.records), len(found.memos)) > MAX_ITEMS:
        raise IntegrityError(f"a cache with more than {MAX_ITEMS} entries")
    return found


def _layer(item: _Layer, own: Mapping[str, Descriptor]) -> CachedLayer:
    digest = digests.parse(item.digest)
    return CachedLayer(
        descriptor=own.get(digest) or Descriptor(media_type="", digest=digest, size=0),
        diff_id=DiffID(digests.parse(item.diff_id)),
        own=digest in own,
        created=max(0, min(item.created, (1 << 62))),
    )


def _checked(found: _Document, layers: Sequence[CachedLayer]) -> CacheDocument:
    return CacheDocument(
        layers=tuple(layers),
        records={_key(item.key): _record(item, len(layers)) for item in found.records},
        memos={_key(key): _value(value) for key, value in found.memos.items()},
    )


def _record(item: _Record, count: int) -> CachedRecord:
    if len(item.layers) > MAX_DEPTH or not all(0 <= place < count for place in item.layers):
        raise IntegrityError("a cache record names layers that are not there")
    name = "".join(char for char in item.name[:MAX_NAME] if char.isprintable())
    return CachedRecord(layers=tuple(item.layers), name=name)


def _key(text: str) -> str:
    if not _KEY.match(text):
        raise IntegrityError(f"not a cache key: {text[:80]!r}")
    return text


def _value(text: str) -> str:
    if not _VALUE.match(text):
        raise IntegrityError(f"not a digest of content: {text[:80]!r}")
    return text

"""The JSON door of `oci`: hostile bytes in, values out, and values back to canonical bytes.

Parsing is bounded (4 MiB, msgspec's own depth limit), typed, and takes `null` for "not there", as
Go's writers do. Encoding is compact, in the field order of the Go structs of the OCI image spec
and with Go's escapes, so that the same value gives the same digest everywhere. No I/O.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from lazybuild.errors import IntegrityError
from lazybuild.oci import digest, gojson
from lazybuild.oci.descriptor import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    NO_ANNOTATIONS,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
)
from lazybuild.oci.digest import DiffID
from lazybuild.oci.image import (
    ContainerConfig,
    Healthcheck,
    History,
    ImageConfig,
    Index,
    Manifest,
)

MAX_BYTES = 4 << 20
MAX_SIZE = (1 << 63) - 1
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})

_Strings = list[str] | None
_Map = dict[str, str] | None
_Set = dict[str, object] | None
_Record = TypeVar("_Record", bound=msgspec.Struct)


class _Descriptor(msgspec.Struct, rename="camel"):
    media_type: str | None = None
    digest: str | None = None
    size: int | None = None
    urls: _Strings = None
    annotations: _Map = None
    platform: dict[str, object] | None = None
    artifact_type: str | None = None


class _Document(msgspec.Struct, rename="camel"):
    """A manifest or an index: which, only its keys and its media type say."""

    schema_version: int | None = None
    media_type: str | None = None
    artifact_type: str | None = None
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    subject: _Descriptor | None = None
    annotations: _Map = None


class _Healthcheck(msgspec.Struct, rename="pascal"):
    test: _Strings = None
    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    start_interval: int | None = None
    retries: int | None = None


class _ContainerConfig(msgspec.Struct, rename="pascal"):
    user: str | None = None
    exposed_ports: _Set = None
    env: _Strings = None
    entrypoint: _Strings = None
    cmd: _Strings = None
    volumes: _Set = None
    working_dir: str | None = None
    labels: _Map = None
    stop_signal: str | None = None
    args_escaped: bool | None = None
    healthcheck: _Healthcheck | None = None
    on_build: _Strings = None
    shell: _Strings = None


class _RootFS(msgspec.Struct):
    type: str | None = None
    diff_ids: _Strings = None


class _History(msgspec.Struct):
    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class _Config(msgspec.Struct):
    created: str | None = None
    author: str | None = None
    architecture: str | None = None
    os: str | None = None
    os_version: str | None = msgspec.field(default=None, name="os.version")
    os_features: _Strings = msgspec.field(default=None, name="os.features")
    variant: str | None = None
    config: _ContainerConfig | None = None
    rootfs: _RootFS | None = None
    history: list[_History] | None = None


def parse_manifest(data: bytes, media_type: str = "") -> Manifest:
    """Read an image manifest; `media_type` is what the one who points at it says."""
    value = parse_document(data, media_type)
    if not isinstance(value, Manifest):
        raise IntegrityError("expected an image manifest, found an index")
    return value


def parse_index(data: bytes, media_type: str = "") -> Index:
    value = parse_document(data, media_type)
    if not isinstance(value, Index):
        raise IntegrityError("expected an image index, found a manifest")
    return value


def parse_document(data: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index, whichever it is; one that could be taken for both is refused."""
    record = _decode(data, _Document, "manifest")
    kind = _media_type(record, media_type)
    if record.schema_version != 2:  # noqa: PLR2004 - the spec's only number
        raise IntegrityError(f"manifest of schema version {record.schema_version}, not 2")
    return _index(record, kind) if kind in INDEX_TYPES else _manifest(record, kind)


def parse_config(data: bytes) -> ImageConfig:
    record = _decode(data, _Config, "image config")
    raw = _mapping(data)
    inner = raw.get("config")
    container = _container(record.config or _ContainerConfig(), inner)
    rootfs = record.rootfs or _RootFS()
    return ImageConfig(
        created=record.created or "",
        author=record.author or "",
        architecture=record.architecture or "",
        os=record.os or "",
        os_version=record.os_version or "",
        os_features=tuple(record.os_features or ()),
        variant=record.variant or "",
        config=container,
        diff_ids=tuple(DiffID(digest.parse(item)) for item in rootfs.diff_ids or ()),
        history=tuple(_history(item) for item in record.history or ()),
        extra=_unknown(_Config, raw),
    )


def parse_descriptor(data: bytes) -> Descriptor:
    return _descriptor(_decode(data, _Descriptor, "descriptor"))


def encode(value: Manifest | Index | ImageConfig | Descriptor) -> bytes:
    """The canonical bytes of a value; their digest is the value's identity."""
    return gojson.encode(value)


def describe(value: Manifest | Index, data: bytes | None = None) -> Descriptor:
    """The descriptor that points at a manifest or an index."""
    body = encode(value) if data is None else data
    return Descriptor(media_type=value.media_type, digest=digest.of(body), size=len(body))


def _decode(data: bytes, kind: type[_Record], what: str) -> _Record:
    if len(data) > MAX_BYTES:
        raise IntegrityError(f"{what} of {len(data)} bytes is over the limit of {MAX_BYTES}")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{what} that makes no sense: {error}") from error


def _mapping(data: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(data, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise IntegrityError(f"image config that makes no sense: {error}") from error


def _unknown(kind: type[msgspec.Struct], raw: object) -> Mapping[str, object]:
    known = {item.encode_name for item in msgspec.structs.fields(kind)}
    found = raw if isinstance(raw, dict) else {}
    return {key: value for key, value in found.items() if key not in known}


def _media_type(record: _Document, said: str) -> str:
    own = record.media_type or ""
    if own and said and own != said:
        raise IntegrityError(f"manifest says it is {own!r}, its descriptor says {said!r}")
    guess = OCI_INDEX if record.manifests is not None and record.config is None else OCI_MANIFEST
    kind = own or said or guess
    if kind not in MANIFEST_TYPES | INDEX_TYPES:
        raise IntegrityError(f"not an image manifest or index: {kind!r}")
    return kind


def _manifest(record: _Document, kind: str) -> Manifest:
    if record.manifests is not None:
        raise IntegrityError("image manifest that also lists manifests")
    if record.config is None:
        raise IntegrityError("image manifest without a config")
    return Manifest(
        media_type=kind,
        artifact_type=record.artifact_type or "",
        config=_descriptor(record.config),
        layers=tuple(_descriptor(layer) for layer in record.layers or ()),
        subject=_descriptor(record.subject) if record.subject else None,
        annotations=record.annotations or NO_ANNOTATIONS,
    )


def _index(record: _Document, kind: str) -> Index:
    if record.layers is not None or record.config is not None:
        raise IntegrityError("image index that also has layers or a config")
    return Index(
        media_type=kind,
        artifact_type=record.artifact_type or "",
        manifests=tuple(_descriptor(item) for item in record.manifests or ()),
        subject=_descriptor(record.subject) if record.subject else None,
        annotations=record.annotations or NO_ANNOTATIONS,
    )


def _descriptor(record: _Descriptor) -> Descriptor:
    size = record.size if record.size is not None else -1
    if not 0 <= size <= MAX_SIZE:
        raise IntegrityError(f"descriptor with a size of {size}")
    return Descriptor(
        media_type=record.media_type or "",
        digest=digest.parse(record.digest or ""),
        size=size,
        annotations=record.annotations or NO_ANNOTATIONS,
        urls=tuple(record.urls or ()),
        artifact_type=record.artifact_type or "",
        platform={key: value for key, value in (record.platform or {}).items() if value} or None,
    )


def _healthcheck(record: _Healthcheck) -> Healthcheck:
    return Healthcheck(
        test=tuple(record.test or ()),
        interval=record.interval or 0,
        timeout=record.timeout or 0,
        start_period=record.start_period or 0,
        start_interval=record.start_interval or 0,
        retries=record.retries or 0,
    )


def _container(record: _ContainerConfig, raw: object) -> ContainerConfig:
    return ContainerConfig(
        user=record.user or "",
        exposed_ports=tuple(sorted(record.exposed_ports or ())),
        env=tuple(record.env or ()),
        entrypoint=_said(record.entrypoint),
        cmd=_said(record.cmd),
        volumes=tuple(sorted(record.volumes or ())),
        working_dir=record.working_dir or "",
        labels=record.labels or NO_ANNOTATIONS,
        stop_signal=record.stop_signal or "",
        args_escaped=bool(record.args_escaped),
        healthcheck=_healthcheck(record.healthcheck) if record.healthcheck else None,
        on_build=tuple(record.on_build or ()),
        shell=tuple(record.shell or ()),
        extra=_unknown(_ContainerConfig, raw),
    )


def _said(items: _Strings) -> tuple[str, ...] | None:
    return None if items is None else tuple(items)


def _history(record: _History) -> History:
    return History(
        created=record.created or "",
        created_by=record.created_by or "",
        author=record.author or "",
        comment=record.comment or "",
        empty_layer=bool(record.empty_layer),
    )

"""Manifests, indexes and image configs as values (OCI image spec: manifest.md, image-index.md,
config.md, and Docker's additions to the config). Pure; `codec` turns them into JSON and back.

Times are RFC 3339 text as they stand in the JSON. What an image holds beyond the known keys stays
in `extra`, so that reading and writing a foreign config loses nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lazybuild.oci.descriptor import NO_ANNOTATIONS, OCI_INDEX, OCI_MANIFEST, Descriptor
from lazybuild.oci.digest import DiffID

NO_EXTRA: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image for one platform, or an artifact."""

    media_type: str = OCI_MANIFEST
    artifact_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=lambda: NO_ANNOTATIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A list of manifests, one for each platform."""

    media_type: str = OCI_INDEX
    artifact_type: str = ""
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=lambda: NO_ANNOTATIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """How to ask a container whether it is well. Durations in nanoseconds, 0 inherits."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    """What a container made of the image starts with. None and () are different: () is said."""

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: NO_ANNOTATIONS)
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    extra: Mapping[str, object] = field(default_factory=lambda: NO_EXTRA)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One line of an image's history; it stands for a layer unless `empty_layer`."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """The image config: platform, container config, layer diff IDs bottom first, and history."""

    created: str = ""
    author: str = ""
    architecture: str = ""
    os: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    variant: str = ""
    config: ContainerConfig = field(default_factory=ContainerConfig)
    diff_ids: tuple[DiffID, ...] = ()
    history: tuple[History, ...] = ()
    extra: Mapping[str, object] = field(default_factory=lambda: NO_EXTRA)

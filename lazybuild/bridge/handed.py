"""What a frontend handed back, as the compiler's own result would be. Pure; every byte is hostile.

Metadata keys: moby/buildkit exporter/containerimage/exptypes/types.go.
"""

from collections.abc import Mapping
from itertools import takewhile

from lazybuild.bridge.refs import Refs
from lazybuild.dockerfile.draft import DEFAULT_PATH
from lazybuild.dockerfile.options import Compiled, ResolvedImage
from lazybuild.errors import BuildError, IntegrityError
from lazybuild.llb.ops import Platform
from lazybuild.oci import codec
from lazybuild.oci.image import ContainerConfig, ImageConfig
from lazybuild.wire.gateway import Outcome

CONFIG = "containerimage.config"
BASE = "containerimage.base.config"
EPOCH = "source.date.epoch"
MAX_EPOCH_DIGITS = 12


def compiled(outcome: Outcome, refs: Refs, here: Platform, epoch: int | None) -> Compiled:
    """One image. `here` is its platform where nobody says another; `epoch` is the user's."""
    if len(outcome.refs) > 1:
        raise BuildError(
            f"the frontend made {len(outcome.refs)} images where one was asked for",
            hint="name one with --platform",
        )
    name, ref = next(iter(outcome.refs.items()), ("", ""))
    said = _Metadata(outcome.metadata, name)
    config = _config(said.get(CONFIG), here)
    base = said.get(BASE)
    below = codec.parse_config(base) if base else None
    return Compiled(
        head=refs.get(ref),
        config=config,
        platform=_platform(config, here),
        stage="",
        stages=(),
        base_history=_shared(config, below) if below else 0,
        base=ResolvedImage(reference="", digest=None, config=below) if below else None,
        epoch=epoch if epoch is not None else _epoch(said.get(EPOCH)),
    )


class _Metadata:
    """Values by name; those of one platform of several have its name behind theirs."""

    def __init__(self, values: Mapping[str, bytes], platform: str) -> None:
        self._values = values
        self._platform = platform

    def get(self, name: str) -> bytes:
        own = self._values.get(f"{name}/{self._platform}") if self._platform else None
        return own or self._values.get(name, b"")


def _config(data: bytes, here: Platform) -> ImageConfig:
    """The image's config; one without any is as the reference's exporter has it."""
    if data:
        return codec.parse_config(data)
    return ImageConfig(
        os=here.os,
        architecture=here.architecture,
        variant=here.variant,
        config=ContainerConfig(env=(f"PATH={DEFAULT_PATH}",), working_dir="/"),
    )


def _platform(config: ImageConfig, here: Platform) -> Platform:
    return Platform(
        os=config.os or here.os,
        architecture=config.architecture or here.architecture,
        variant=config.variant,
        os_version=config.os_version,
    )


def _shared(config: ImageConfig, base: ImageConfig) -> int:
    """How much of the history came with the base image."""
    pairs = zip(config.history, base.history, strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _epoch(data: bytes) -> int | None:
    if not data:
        return None
    if not data.isdigit() or len(data) > MAX_EPOCH_DIGITS:
        raise IntegrityError(f"the frontend gave {data[:40]!r} as a number of seconds")
    return int(data)

"""The compiler's Resolver where a BuildKit looks for images. Pure: how it is asked is given."""

from collections.abc import Callable
from typing import Protocol

from lazybuild.dockerfile.options import ResolvedImage
from lazybuild.llb.ops import Platform
from lazybuild.oci import codec, digest


class Found(Protocol):
    """An image as BuildKit has it: its name there, the digest or "", the config's bytes."""

    @property
    def reference(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def config(self) -> bytes: ...


class GatewayImages:
    """Each image is asked for once."""

    def __init__(self, ask: Callable[[str, Platform], Found]) -> None:
        self._ask = ask
        self._known: dict[tuple[str, Platform], ResolvedImage] = {}

    def image(self, reference: str, platform: Platform) -> ResolvedImage:
        key = (reference, platform)
        if key not in self._known:
            found = self._ask(reference, platform)
            self._known[key] = ResolvedImage(
                reference=found.reference,
                digest=digest.parse(found.digest) if found.digest else None,
                config=codec.parse_config(found.config),
            )
        return self._known[key]

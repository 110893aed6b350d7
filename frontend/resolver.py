"""The compiler's Resolver over the gateway: each image is asked for once."""

from lazybuild.dockerfile.options import ResolvedImage
from lazybuild.llb.ops import Platform
from lazybuild.oci import codec, digest
from lazybuild.wire.gateway import Gateway, Lookup


class GatewayResolver:
    def __init__(self, gateway: Gateway, lookup: Lookup) -> None:
        self._gateway = gateway
        self._lookup = lookup
        self._known: dict[tuple[str, Platform], ResolvedImage] = {}

    def image(self, reference: str, platform: Platform) -> ResolvedImage:
        key = (reference, platform)
        if key not in self._known:
            found = self._gateway.resolve_image(reference, platform, self._lookup)
            self._known[key] = ResolvedImage(
                reference=found.reference,
                digest=digest.parse(found.digest) if found.digest else None,
                config=codec.parse_config(found.config),
            )
        return self._known[key]

"""The exact image: every layer written by us, and taken over by BuildKit as it is.

A frontend can't say how layers are written, but what BuildKit pulls it keeps. So for each layer a
step of our own image sees what the file system was before and after, and writes the difference as
eStargz, in order; a program beside the build then offers these layers as an image on the loopback,
and BuildKit pulls it and lays it over the base image, whose layers stay as they are. BuildKit has
to share a network with what it runs (see `output`).

Deletions: BuildKit drops one whose file is not below it, so where there are some, the image that is
pulled has a layer with such files first, and only what comes after it is taken.
"""

import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from frontend.ghost import ghost
from frontend.layers import Stack, WrittenLayer, from_json, stack
from frontend.orders import Orders
from frontend.places import BLOBS, LAYER, LAYERS
from frontend.tool import Tool
from frontend.writers import Plan
from lazybuild.dockerfile.options import Compiled
from lazybuild.errors import BuildError
from lazybuild.llb.graph import Edge, Vertex, VertexOptions
from lazybuild.llb.ops import (
    NO_OUTPUT,
    DiffOp,
    FileAction,
    FileOp,
    MergeOp,
    MkDirAction,
    MkFileAction,
    NetworkMode,
    Platform,
    SourceOp,
)
from lazybuild.oci import codec, digest
from lazybuild.oci.descriptor import OCI_CONFIG, OCI_MANIFEST, Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import ImageConfig, Manifest
from lazybuild.wire.containers import Program
from lazybuild.wire.encode import Style, encode
from lazybuild.wire.faults import RemoteError
from lazybuild.wire.gateway import CacheImport, Gateway

AT_ONCE = 4


class UnreachableError(BuildError):
    """BuildKit and what it runs do not meet on the loopback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """What all results of a build have in common."""

    gateway: Gateway
    tool: Tool
    style: Style
    imports: tuple[CacheImport, ...]
    network: NetworkMode

    def export(self, result: Compiled, orders: Orders, traces: Sequence[Edge]) -> Compiled:
        """The same result out of layers of ours. Raises UnreachableError."""
        found = stack(result.head) if result.head else Stack(base=None, tops=())
        if not found.tops:
            return result
        steps = Plan(
            tool=self.tool, orders=orders, traces=tuple(traces), epoch=result.epoch
        ).writers(found)
        refs = [self._solve(step) for step in steps]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            layers = [from_json(data) for data in pool.map(self._described, refs)]
        return replace(result, head=self._taken(found, layers, refs, result.platform))

    def _solve(self, edge: Edge) -> str:
        return self.gateway.solve(encode(edge, self.style), self.imports)

    def _described(self, ref: str) -> bytes:
        return self.gateway.read_file(ref, LAYER)

    def _taken(
        self, found: Stack, layers: Sequence[WrittenLayer], refs: Sequence[str], platform: Platform
    ) -> Edge:
        """Offer the layers and have BuildKit fetch them."""
        offer = Offer.of(layers, platform, over_base=found.base is not None)
        folders = [*refs, self._solve(offer.folder())]
        mounts = [(f"{LAYERS}/{number}", ref) for number, ref in enumerate(folders)]
        program = Program(
            name="what offers them",
            argv=self.tool.argv("frontend.loopback", offer.name, *offer.manifests),
            env=self.tool.env,
            mounts=[("/", self._solve(self.tool.root)), *mounts],
            network=self.network,
        )
        try:
            with self.gateway.run(program) as process:
                host = f"127.0.0.1:{int(process.line())}"
                for manifest in offer.manifests:
                    image = offer.image(host, platform, manifest)
                    self.gateway.names(self._solve(image), "/")  # a listing needs all of it
        except (RemoteError, ValueError) as error:
            raise UnreachableError(
                f"BuildKit can't fetch the layers of this build: {error}"
            ) from error
        return offer.over(found.base, host, platform)


# --- what is offered -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """`whole` is the image that is pulled, `shade` the one of its first layer that is not taken."""

    name: str
    whole: Digest
    shade: Digest | None
    documents: dict[Digest, bytes]

    @classmethod
    def of(cls, layers: Sequence[WrittenLayer], platform: Platform, *, over_base: bool) -> "Offer":
        documents: dict[Digest, bytes] = {}
        removed = [path for layer in layers for path in layer.removed] if over_base else []
        shade = None
        if removed:
            first, blob = ghost(removed)
            documents[first.descriptor.digest] = blob
            shade = _add_image([first], platform, documents)
            layers = [first, *layers]
        whole = _add_image(layers, platform, documents)
        return cls(name=secrets.token_hex(16), whole=whole, shade=shade, documents=documents)

    def folder(self) -> Edge:
        """The documents as a file system like those that the layers were written to."""
        parts = (f"/{BLOBS}/{digest.hex_part(name)}" for name in self.documents)
        made = MkDirAction(path=f"/{BLOBS}", mode=0o755, make_parents=True)
        files = [
            MkFileAction(path=path, mode=0o644, data=data)
            for path, data in zip(parts, self.documents.values(), strict=True)
        ]
        actions = [FileAction(action=made), *(FileAction(action=file) for file in files)]
        linked = tuple(
            replace(action, input=number - 1, output=0 if number == len(files) else NO_OUTPUT)
            for number, action in enumerate(actions)
        )
        options = VertexOptions(name="[lazybuild] describe the layers")
        return Edge(Vertex(op=FileOp(actions=linked), options=options))

    def image(self, host: str, platform: Platform, wanted: Digest | None = None) -> Edge:
        source = SourceOp(identifier=f"docker-image://{host}/{self.name}@{wanted or self.whole}")
        options = VertexOptions(name="[lazybuild] take the layers over")
        return Edge(Vertex(op=source, platform=platform, options=options))

    @property
    def manifests(self) -> tuple[Digest, ...]:
        """All that must be fetched while it is offered."""
        return (self.whole,) if self.shade is None else (self.whole, self.shade)

    def over(self, base: Edge | None, host: str, platform: Platform) -> Edge:
        """The result: the layers on the base image."""
        top = self.image(host, platform)
        if base is None:
            return top
        options = VertexOptions(name="[lazybuild] lay the layers over the base")
        if self.shade is not None:
            shade = self.image(host, platform, self.shade)
            diff = Vertex(op=DiffOp(lower=0, upper=1), inputs=(shade, top), options=options)
            top = Edge(diff)
        return Edge(Vertex(op=MergeOp(), inputs=(base, top), options=options))


def _add_image(
    layers: Sequence[WrittenLayer], platform: Platform, documents: dict[Digest, bytes]
) -> Digest:
    config = ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        diff_ids=tuple(layer.diff_id for layer in layers),
    )
    manifest = Manifest(
        config=_add(OCI_CONFIG, codec.encode(config), documents),
        layers=tuple(layer.descriptor for layer in layers),
    )
    return _add(OCI_MANIFEST, codec.encode(manifest), documents).digest


def _add(media_type: str, data: bytes, documents: dict[Digest, bytes]) -> Descriptor:
    found = digest.of(data)
    documents[found] = data
    return Descriptor(media_type=media_type, digest=found, size=len(data))

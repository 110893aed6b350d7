"""What a target has to do, before it is known where it is built: for sharing work out."""

from collections.abc import Iterable

from lazybuild.dockerfile.options import Compiled, ResolvedImage
from lazybuild.llb.graph import walk
from lazybuild.llb.ops import Platform, SourceOp
from lazybuild.oci import digest
from lazybuild.oci.digest import DiffID
from lazybuild.oci.image import ImageConfig
from lazybuild.remote.crew import Work


class Unasked:
    """The compiler's Resolver when nobody is to be asked: each image has files and says nothing."""

    def image(self, reference: str, platform: Platform) -> ResolvedImage:
        config = ImageConfig(
            os=platform.os,
            architecture=platform.architecture,
            variant=platform.variant,
            diff_ids=(DiffID(digest.of(b"")),),
        )
        return ResolvedImage(reference=reference, digest=None, config=config)


def steps(made: Iterable[Compiled]) -> Work:
    """By their digests. Sources are left out: it is no work to have them."""
    heads = [compiled.head for compiled in made if compiled.head is not None]
    return frozenset(
        vertex.digest
        for head in heads
        for vertex in walk(head.vertex)
        if not isinstance(vertex.op, SourceOp)
    )

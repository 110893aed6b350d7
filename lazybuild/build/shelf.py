"""An image outside of a build, ready to be mounted: the way to its layers without a solver."""

from dataclasses import dataclass

from lazybuild.build.library import Library
from lazybuild.build.lowers import Lowers
from lazybuild.build.space import Space
from lazybuild.oci.image import ImageConfig
from lazybuild.snapshots.manager import Snapshots
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.sources.images import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The image `taken` from the store or a registry, and the snapshots that can mount it."""

    taken: Image
    snapshot: Snapshot
    snapshots: Snapshots

    @property
    def config(self) -> ImageConfig:
        return self.taken.config


def take(space: Space, image: Image, *, allow_unverified: bool = False) -> Shelf:
    """Ready the layers of an image; nothing of them is fetched for it."""
    lowers = Lowers(space, allow_unverified=allow_unverified)
    return Shelf(
        taken=image,
        snapshot=Library(space).snapshot(image),
        snapshots=Snapshots(
            space.store,
            lowers,
            space.ranges,
            look=lowers.need_inside,
            copies=space.copies,
            sink=space.sink,
        ),
    )

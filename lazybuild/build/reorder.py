"""Images from a BuildKit on their way to an output: their new layers in prefetch order.

BuildKit writes the files of a layer by name. With `-o type=oci,prefetch=true` (or `registry`) the
image comes here, and what starting it reads, and what the globs in LAZYBUILD_PREFETCH name, stands
first in the layers that go out. The layers of its base image stay as they are.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from lazybuild.build import attest, convert, restated, translate
from lazybuild.build.collect import task
from lazybuild.build.convert import rewritten
from lazybuild.build.deliver import Delivered, deliver
from lazybuild.build.finish import Built
from lazybuild.build.library import Library
from lazybuild.build.ready import Ready
from lazybuild.build.shelf import take
from lazybuild.build.space import Space
from lazybuild.dockerfile.options import Compiled
from lazybuild.errors import BuildError, UsageError
from lazybuild.estargz.writer import WriterOptions
from lazybuild.events import Noted
from lazybuild.exporters.attestation import Predicate
from lazybuild.oci import codec, platform
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.oci.transport import Kind
from lazybuild.request import BuildRequest, Output
from lazybuild.snapshots.closure import closure
from lazybuild.snapshots.manager import Snapshots
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.snapshots.tree import EmptyTree, walk
from lazybuild.sources.images import Image
from lazybuild.store import Layer

OPTION = "prefetch"
GLOBS = "LAZYBUILD_PREFETCH"
TYPES = ("oci", "registry")


def split(outputs: Sequence[Output]) -> tuple[list[Output], list[Output]]:
    """What the daemon writes, and what goes through here."""
    through = [output for output in outputs if output.options.get(OPTION) == "true"]
    for output in through:
        if output.type not in TYPES:
            raise UsageError(
                f"--output type={output.type} has no {OPTION}=true",
                hint=f"type={' and type='.join(TYPES)} have, and --builder writes no other order",
            )
    return [_plain(output) for output in outputs if output not in through], through


def _plain(output: Output) -> Output:
    kept = {name: value for name, value in output.options.items() if name != OPTION}
    return replace(output, options=kept)


def fetched(archive: Path) -> Output:
    """What brings the image here."""
    return Output(type="oci", dest=str(archive))


def hand_out(
    space: Space,
    request: BuildRequest,
    outputs: Sequence[Output],
    archive: Path,
    made: Sequence[Compiled],
) -> Delivered:
    """Order the image in `archive`, and do the outputs with it. The store gets no name of it: what
    stays as it is lies in the archive, and goes with it.
    """
    bases = {str(one.platform): len(one.base.config.diff_ids) if one.base else 0 for one in made}
    found = Library(space).find(f"{Kind.OCI}:{archive}:@0")
    stated = restated.predicates(space, found)
    with task(space.sink, "ordering the files of layers"):
        images = []
        for image in convert.platforms(space, found):
            ready = _ordered(space, request, image, bases)
            known = stated.get(image.descriptor.digest, ())
            images.append(_stated(space, request, ready, known))
    return deliver(space, replace(request, outputs=tuple(outputs)), images, named=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One layer of an image as it goes out."""

    layer: Layer
    descriptor: Descriptor
    diff_id: DiffID
    hot: Sequence[str] = ()


def _ordered(space: Space, request: BuildRequest, image: Image, bases: Mapping[str, int]) -> Ready:
    config, options = image.config, translate.writer_options(request)
    shelf = take(space, image)
    below = bases.get(str(_platform(image)), 0)
    places = [
        Place(layer=_row(space, name), descriptor=descriptor, diff_id=diff_id)
        for name, descriptor, diff_id in zip(
            shelf.snapshot.layers, image.manifest.layers, config.diff_ids, strict=True
        )
    ]
    new = [_lazy(space, place, options) for place in places[below:]]
    first = _first(shelf.snapshots, image, new, request)
    places[below:] = [_written(space, place, first[place.layer.id], options) for place in new]
    descriptor = convert.image_of(
        space, image, [(place.descriptor, place.diff_id) for place in places]
    )
    manifest = codec.parse_manifest(space.store.blobs.read(descriptor.digest))
    built = Built(
        manifest=manifest,
        config=codec.parse_config(space.store.blobs.read(manifest.config.digest)),
        descriptor=descriptor,
        layers=tuple(place.layer for place in places),
        snapshot=Snapshot(tuple(place.layer.id for place in places)),
        prefetch=(),
    )
    for place in places:
        if place.hot:
            text = f"layer {place.descriptor.digest[:19]}: {len(place.hot)} files come first"
            space.sink(Noted(message=text))
    fields = _platform(image).as_json()
    return Ready(built=built, platform=fields, tree=EmptyTree(), epoch=request.epoch)


def _stated(
    space: Space, request: BuildRequest, ready: Ready, predicates: Sequence[Predicate]
) -> Ready:
    want = str(platform.from_json(ready.platform))
    image = ready.built.descriptor
    return replace(ready, stated=attest.attached(space, request, image, want, predicates))


def _platform(image: Image) -> platform.Platform:
    config = image.config
    fields = {"os": config.os, "architecture": config.architecture, "variant": config.variant}
    return platform.from_json({name: value for name, value in fields.items() if value})


def _row(space: Space, layer_id: str) -> Layer:
    found = space.store.meta.layer(layer_id)
    if found is None:
        raise BuildError(f"layer {layer_id} is no longer in the store")
    return found


def _lazy(space: Space, place: Place, options: WriterOptions) -> Place:
    """A layer with a table of contents: a daemon hands on as gzip what it has as gzip."""
    return place if place.layer.toc_digest else _written(space, place, None, options)


def _written(
    space: Space, place: Place, hot: Sequence[str] | None, options: WriterOptions
) -> Place:
    if hot is not None and not hot:
        return place
    order = (lambda _: hot) if hot else None
    made = rewritten(space, place.layer, place.diff_id, order, options)
    row = _row(space, made.id)
    return Place(layer=row, descriptor=made.descriptor, diff_id=made.diff_id, hot=hot or ())


def _first(
    snapshots: Snapshots, image: Image, new: Sequence[Place], request: BuildRequest
) -> Mapping[str, list[str]]:
    """The names that come first, by the layer that has them on top."""
    ids = [place.layer.id for place in new]
    tree = snapshots.tree(Snapshot(tuple(ids)))
    names = dict.fromkeys(closure(tree, translate.start_of(image.config.config)))
    globs = [
        glob.strip("/") for glob in request.build_args.get(GLOBS, "").replace(",", " ").split()
    ]
    if globs:
        every = [path for path, _ in walk(tree) if path]
        names |= dict.fromkeys(
            path for path in every if any(fnmatchcase(path, glob) for glob in globs)
        )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        owner = next((it for it in reversed(ids) if snapshots.layer_tree(it).lookup(name)), "")
        found[owner].append(name)
    return found

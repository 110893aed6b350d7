"""Images made from images: layers put on top, history brought in line with them, times clamped.

The rules are those of BuildKit's exporter (exporter/containerimage/writer.go:
normalizeLayersAndHistory, patchImageConfig), so that the history reads as people know it. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from lazybuild.errors import IntegrityError
from lazybuild.oci import times
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.oci.image import History, ImageConfig, Manifest

MADE_UP = "buildkit.exporter.image.v0"  # the comment of history nobody wrote; the field's word


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMeta:
    """What history needs of a layer: `created` is RFC 3339 text or "", `description` the step."""

    diff_id: DiffID
    created: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A layer to put on top of an image, with the line of history that tells of it."""

    descriptor: Descriptor
    diff_id: DiffID
    history: History


def append(
    manifest: Manifest, config: ImageConfig, additions: Sequence[Addition]
) -> tuple[Manifest, ImageConfig]:
    """Put layers on top. The manifest's config descriptor is the caller's to renew."""
    layers = manifest.layers + tuple(item.descriptor for item in additions)
    changed = replace(
        config,
        diff_ids=config.diff_ids + tuple(item.diff_id for item in additions),
        history=config.history + tuple(item.history for item in additions),
    )
    return replace(manifest, layers=layers), changed


def finish(
    config: ImageConfig,
    layers: Sequence[LayerMeta],
    *,
    base_history: Sequence[History] = (),
    epoch: int | None = None,
) -> ImageConfig:
    """The config that goes into the image: diff IDs of all `layers`, history to match, times.

    `base_history` is that of the base image, which an `epoch` (seconds) leaves alone.
    """
    history = _fill_times(_matched(config.history, layers), layers)
    if epoch is not None:
        history = _clamped_after(history, base_history, epoch)
    created = config.created or next((h.created for h in reversed(history) if h.created), "")
    if epoch is not None:
        created = clamp(created, epoch)
    return replace(
        config, created=created, diff_ids=tuple(m.diff_id for m in layers), history=tuple(history)
    )


def clamp(created: str, epoch: int) -> str:
    """The time, or the epoch (seconds) when it is later, absent or unreadable."""
    limit = epoch * 1_000_000_000
    try:
        late = not created or times.parse_ns(created) > limit
    except IntegrityError:
        late = True
    return times.format_ns(limit) if late else created


def _matched(history: Sequence[History], layers: Sequence[LayerMeta]) -> list[History]:
    """As many non-empty lines as layers: extra ones are called empty, missing ones are added."""
    found: list[History] = []
    seen = 0
    for line in history:
        empty = line.empty_layer or seen >= len(layers)
        found.append(replace(line, empty_layer=empty))
        seen += not empty
    return found + [
        History(created=meta.created, created_by=meta.description, comment=MADE_UP)
        for meta in layers[seen:]
    ]


def _fill_times(history: Sequence[History], layers: Sequence[LayerMeta]) -> list[History]:
    """Lines of layers get their layer's time, the others the time of the layer before them.

    Those before the first new layer get that layer's: the base is older than they are.
    """
    remaining = iter(layers)
    timed = [
        line if line.empty_layer else _with_time(line, next(remaining).created) for line in history
    ]
    current = _first_new_time(timed)
    filled: list[History] = []
    missing = False
    for line in timed:
        if line.created and missing:
            current = line.created
        missing = missing or not line.created
        filled.append(_with_time(line, current))
    return filled


def _with_time(line: History, created: str) -> History:
    return line if line.created else replace(line, created=created)


def _first_new_time(history: Sequence[History]) -> str:
    base = list(takewhile(lambda line: line.created, history))
    new = (line.created for line in history[len(base) :] if line.created)
    return next(new, base[-1].created if base else "")


def _clamped_after(
    history: Sequence[History], base: Sequence[History], epoch: int
) -> list[History]:
    pairs = zip(history, base, strict=False)
    kept = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    later = [replace(line, created=clamp(line.created, epoch)) for line in history[kept:]]
    return [*history[:kept], *later]

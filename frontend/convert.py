"""Runs inside the step that writes one layer (`exact`): `python -m frontend.convert OPTIONS`.

An edge. The file systems before and after the layer are hostile, but this container holds nothing
else. What is written: the blob under its digest, and a description of it.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from frontend.ghost import described
from frontend.layers import WrittenLayer, to_json
from frontend.places import BLOBS, LAYER, LOWER, NAMES, OUT, RANKED, UPPER
from lazybuild.estargz.entry import Item
from lazybuild.estargz.writer import NotUtf8Error, WriterOptions, Written, write_layer, write_plain
from lazybuild.oci.digest import hex_part
from lazybuild.snapshots.diff import layer_items
from lazybuild.snapshots.difference import Difference
from lazybuild.snapshots.dirtree import DirTree


def main() -> int:
    options = WriterOptions(epoch=json.loads(sys.argv[1])["epoch"])
    lower = Path(LOWER)
    tree = Difference(DirTree(lower) if lower.is_dir() else None, DirTree(Path(UPPER)))
    hot = json.loads((Path(RANKED) / NAMES).read_text())
    layer = write(tree, hot, options, Path(OUT))
    size = layer.descriptor.size / 1e6
    sys.stderr.write(f"{layer.descriptor.digest}  {size:.1f} MB  {len(hot)} files first\n")
    return 0


def write(tree: Difference, hot: Sequence[str], options: WriterOptions, out: Path) -> WrittenLayer:
    """The layer as a blob in `out`, and what is to be known of it."""
    items = list(layer_items(tree, _note))
    blobs = out / BLOBS
    blobs.mkdir(parents=True)
    part = blobs / "part"
    written = _written(items, hot, options, part)
    part.rename(blobs / hex_part(written.digest))
    layer = described(written, tree.removed())
    (out / LAYER).write_text(to_json(layer))
    return layer


def _written(
    items: Sequence[Item], hot: Sequence[str], options: WriterOptions, part: Path
) -> Written:
    with part.open("wb") as blob:
        try:
            return write_layer(items, blob.write, hot=hot, options=options)
        except NotUtf8Error as error:
            _note(f"{error.message}; the layer is plain and can't be lazy")
            return write_plain(items, blob.write, options=options)


def _note(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())

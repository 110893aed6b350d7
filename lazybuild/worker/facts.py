"""What the cache key of a step is made of, in words that a user knows. Pure.

For explanations only: `keys` decides. Values are digests, so that nothing secret is kept.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import cast

from lazybuild.llb.graph import Vertex, plain
from lazybuild.llb.ops import CopyAction, ExecOp, FileOp, Mount, SourceOp
from lazybuild.snapshots.contenthash import Selection as Content
from lazybuild.solver.types import KeyPlan
from lazybuild.worker import keys


def facts(vertex: Vertex) -> dict[str, str]:
    """What the step's own definition gives, by name."""
    op = vertex.op
    found: dict[str, object] = {"platform": str(vertex.platform or "")}
    if isinstance(op, SourceOp):
        found["source"] = op.identifier
    elif isinstance(op, ExecOp):
        found |= dict(_exec(op))
    elif isinstance(op, FileOp):
        found |= dict(_file(op))
    return {name: _short(value) for name, value in found.items()}


def inputs(vertex: Vertex, plan: KeyPlan) -> list[str]:
    """A name for each input: content that is copied or mounted, or the step before."""
    selections = plan.inputs or (None,) * len(vertex.inputs)
    return [
        _step(edge.vertex.name) if chosen is None else f"content of {_paths(chosen.paths)}"
        for edge, chosen in zip(vertex.inputs, selections, strict=True)
    ]


def _exec(op: ExecOp) -> Iterator[tuple[str, object]]:
    meta = op.meta
    yield "command", list(meta.args)
    for item in meta.env:
        name, _, value = item.partition("=")
        yield f"variable {name}", value
    yield "working directory", meta.cwd
    yield "user", meta.user
    yield "host name", meta.hostname
    yield "extra hosts", [host for host, _ in meta.extra_hosts]
    yield "limits", plain(meta.ulimits)
    yield "network", [op.network.value, op.security.value]
    yield "secret variables", plain(op.secret_env)
    for mount in op.mounts:
        if mount.dest != "/":
            yield f"mount {mount.dest}", _mount(mount)


def _mount(mount: Mount) -> object:
    return plain(keys.shape(mount))


def _file(op: FileOp) -> Iterator[tuple[str, object]]:
    for number, action in enumerate(op.actions, 1):
        found = keys.relative(action).action
        what = "destination and options" if isinstance(found, CopyAction) else "definition"
        yield what if len(op.actions) == 1 else f"{what} of part {number}", plain(found)


def _step(name: str) -> str:
    """`[dev 3/5]` of `[dev 3/5] RUN make`."""
    return name[: name.index("]") + 1] if name.startswith("[") and "]" in name else name


def _paths(contents: tuple[object, ...]) -> str:
    return ", ".join(f"/{cast('Content', part).path.lstrip('/')}" for part in contents) or "/"


def _short(value: object) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]

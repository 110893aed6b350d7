"""Which files come first: what a step of ours is told of that, how it finds them. An engine."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

from lazybuild.estargz.entry import Kind
from lazybuild.oci.image import ImageConfig
from lazybuild.snapshots.closure import Start, closure
from lazybuild.snapshots.tree import Tree, walk

GLOBS = "LAZYBUILD_PREFETCH"
MAX_FILES = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """How the image is started, and patterns of names."""

    argv: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = "/"
    globs: tuple[str, ...] = ()


def of_image(config: ImageConfig, build_args: Mapping[str, str]) -> Orders:
    own = config.config
    return Orders(
        argv=(*(own.entrypoint or ()), *(own.cmd or ())),
        env=own.env,
        cwd=own.working_dir or "/",
        globs=tuple(build_args.get(GLOBS, "").replace(",", " ").split()),
    )


def to_json(orders: Orders) -> str:
    return json.dumps(asdict(orders), sort_keys=True)


def from_json(text: str) -> Orders:
    found = json.loads(text)
    lists = {name: tuple(found[name]) for name in ("argv", "env", "globs")}
    return Orders(cwd=found["cwd"], **lists)


def wanted(tree: Tree, orders: Orders, seen: Iterable[str] = ()) -> Iterator[str]:
    """What steps were seen to open, what starting reads, what the patterns name: each once."""
    found = dict.fromkeys(path for path in seen if _is_file(tree, path))
    start = Start(argv=orders.argv, env=orders.env, cwd=orders.cwd)
    found |= {path: None for path in closure(tree, start) if path not in found}
    patterns = [glob.strip("/") for glob in orders.globs]
    if patterns:
        for path, node in walk(tree):
            if node.kind is Kind.REG and any(fnmatchcase(path, each) for each in patterns):
                found.setdefault(path)
    yield from list(found)[:MAX_FILES]


def _is_file(tree: Tree, path: str) -> bool:
    node = tree.lookup(path)
    return node is not None and node.kind is Kind.REG

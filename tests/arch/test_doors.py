"""Each third-party library has one door: the only modules that may import it."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent.parent.parent
DOORS = {
    "urllib3": ("lazybuild/registry/transport.py",),
    "sqlite3": ("lazybuild/store/meta.py",),
    "isal": ("lazybuild/estargz/codec.py",),
    "deflate": ("lazybuild/estargz/codec.py",),
    "zstandard": ("lazybuild/estargz/codec.py",),
    "click": ("lazybuild/cli/",),
    "rich": ("lazybuild/cli/progress/tty.py",),
    "dockerfile_parse": ("lazybuild/dockerfile/split.py", "lazybuild/dockerfile/parse.py"),
    "yaml": ("lazybuild/cli/bake",),
    "google": ("lazybuild/wire/",),
    "buildkit_frontend_protos": ("lazybuild/wire/", "frontend/"),
    "grpc": ("lazybuild/wire/", "frontend/"),
    "ctypes": ("lazybuild/linux/", "lazybuild/executor/sandbox/"),
}


def imports(path: Path) -> Iterator[str]:
    """The top-level names of what a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def sources() -> list[Path]:
    """Our own modules; what a generator wrote is wire's."""
    found = [*SOURCES.glob("lazybuild/**/*.py"), *SOURCES.glob("frontend/**/*.py")]
    return [path for path in found if "buildkit_frontend_protos" not in path.parts]


USED = {path.relative_to(SOURCES).as_posix(): set(imports(path)) for path in sources()}


@pytest.mark.parametrize("library", sorted(DOORS))
def test_a_library_is_imported_by_its_door_only(library):
    users = [name for name, found in USED.items() if library in found]
    assert [name for name in users if not name.startswith(DOORS[library])] == []


def test_a_room_reads_json_records_in_one_module():
    doors = [name.rpartition("/")[0] for name, found in USED.items() if "msgspec" in found]
    assert len(doors) > 3
    assert sorted(doors) == sorted(set(doors))


def test_every_foreign_library_has_a_door():
    own = {"lazybuild", "frontend", "_typeshed", "msgspec", *sys.stdlib_module_names, *DOORS}
    assert {name: found - own for name, found in USED.items() if found - own} == {}


def test_the_scan_sees_imports():
    assert {"urllib3"} <= USED["lazybuild/registry/transport.py"]
    assert {"rich"} <= USED["lazybuild/cli/progress/tty.py"]


OPEN_TO_THE_FRONTEND = ("dockerfile", "llb", "wire", "oci", "errors")
IN_STEPS = {
    "snapshots": {"arrange", "convert", "ghost", "order", "orders", "rank"},
    "estargz": {"convert", "ghost", "orders"},
    "linux": {"tracer"},
}
"""Rooms for the programs that the frontend runs in steps, and for what tells of them."""


def rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lazybuild."):
            yield node.module.split(".")[1]


def test_the_frontend_knows_few_rooms():
    used = {path.stem: set(rooms(path)) for path in SOURCES.glob("frontend/*.py")}
    others = {
        (room, name)
        for name, found in used.items()
        for room in found.difference(OPEN_TO_THE_FRONTEND)
    }
    assert others == {(room, name) for room, names in IN_STEPS.items() for name in names}


def test_nothing_in_lazybuild_imports_the_frontend():
    assert not [
        name
        for name, found in USED.items()
        if name.startswith("lazybuild/") and "frontend" in found
    ]

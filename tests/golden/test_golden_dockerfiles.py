"""Golden cases: testdata/Dockerfiles/<case>/ holds a Dockerfile and what it must become.

`graph.json` is every vertex, inputs first, `keys.json` the cache key of each of them (where its
sources' contents are their names), `config.json` the image config and what is used of the local
sources. `options.json`, when there, holds keyword arguments of CompileOptions and, under "images",
configs of base images beyond the default one. `--update-golden` writes the first three.
"""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from support.dockerfiles import Images, compiled, image, vertices

from lazybuild.llb.graph import plain
from lazybuild.llb.ops import NetworkMode, Platform, SourceOp, Ulimit
from lazybuild.oci.codec import encode
from lazybuild.solver.report import Reporter
from lazybuild.solver.solve import Solver
from lazybuild.solver.types import KeyPlan
from lazybuild.worker import keys

CASES = Path(__file__).parents[2] / "testdata" / "Dockerfiles"
DEMOS = {"dev-stage"}  # built for real elsewhere
NAMES = sorted({path.parent.name for path in CASES.glob("*/Dockerfile")} - DEMOS)


def read_options(case):
    path = case / "options.json"
    options = json.loads(path.read_text()) if path.exists() else {}
    for key in ("platform", "build_platform"):
        if key in options:
            options[key] = Platform(**options[key])
    if "ulimits" in options:
        options["ulimits"] = tuple(Ulimit(**limit) for limit in options["ulimits"])
    if "network" in options:
        options["network"] = NetworkMode(options["network"])
    for key in ("allow", "no_cache"):
        if key in options:
            options[key] = frozenset(options[key])
    if "add_hosts" in options:
        options["add_hosts"] = tuple(tuple(pair) for pair in options["add_hosts"])
    return options


def read_images(options):
    given = options.pop("images", {})
    return AnyImage(**{name: image(**_tuples(config)) for name, config in given.items()})


def _tuples(config):
    return {key: tuple(v) if isinstance(v, list) else v for key, v in config.items()}


class AnyImage(Images):
    """Has an image under every name."""

    def image(self, reference, platform):
        name = reference.partition("@")[0].removesuffix(":latest").rpartition("/")[2]
        self.images.setdefault(name, image(architecture="any", cmd=("bash",)))
        return super().image(reference, platform)


def graph_of(result):
    """Every vertex as JSON; a vertex is named by its place in the list."""
    places = {}
    found = []
    for vertex in vertices(result):
        places[vertex.digest] = len(places)
        entry = {"name": vertex.name, "digest": vertex.digest, "op": _short(plain(vertex.op))}
        if vertex.platform:
            entry["platform"] = str(vertex.platform)
        if vertex.inputs:
            entry["inputs"] = [[places[e.vertex.digest], e.index] for e in vertex.inputs]
        if vertex.options.ignore_cache:
            entry["ignore_cache"] = True
        if vertex.options.spans:
            entry["line"] = vertex.options.spans[0].line
        found.append(entry)
    return found


class NamedContents:
    """The real keys of ops, over sources that hold nothing but their names."""

    def plan(self, vertex):
        if not isinstance(vertex.op, SourceOp):
            return keys.plan(vertex)
        if vertex.op.identifier.startswith("local://"):
            return KeyPlan(digest=vertex.op.identifier, stable=False)
        return keys.source_plan(vertex, vertex.op.identifier)

    def content(self, vertex, index, selection, result):
        return keys.fingerprint([result, selection.fingerprint])

    def run(self, vertex, inputs):
        return vertex.op.identifier if isinstance(vertex.op, SourceOp) else vertex.digest


class Forgetful:
    """A cache that always misses."""

    def holds(self, key):
        return False

    def load(self, key, vertex):
        return None

    def save(self, key, vertex, result):
        return None

    def memo(self, key):
        return None

    def save_memo(self, key, value):
        return None


def keys_of(result):
    """[name, cache key] of every vertex that can be in the cache."""
    ops = NamedContents()
    solver = Solver(ops, Forgetful(), Reporter(lambda event: None), parallel=False)
    found = [vertex for vertex in vertices(result) if ops.plan(vertex).stable]
    return [[vertex.name, solver.key(vertex)] for vertex in found]


def _short(value):
    """Without members that say nothing."""
    if isinstance(value, dict):
        short = {key: _short(member) for key, member in value.items()}
        return {key: member for key, member in short.items() if _says_something(member)}
    return [_short(item) for item in value] if isinstance(value, list) else value


def _says_something(member):
    return member is not None and member is not False and member not in ("", [])


def config_of(result):
    return {
        "config": json.loads(encode(result.config)),
        "locals": {name: list(paths) for name, paths in result.locals.items()},
        "warnings": [asdict(warning)["rule"] for warning in result.warnings],
    }


@pytest.mark.parametrize("name", NAMES)
def test_golden(name, update_golden):
    case = CASES / name
    options = read_options(case)
    images = read_images(options)
    result = compiled((case / "Dockerfile").read_text(), images, **options)
    for path, found in (
        (case / "graph.json", graph_of(result)),
        (case / "keys.json", keys_of(result)),
        (case / "config.json", config_of(result)),
    ):
        if update_golden:
            path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        assert found == json.loads(path.read_text()), path


def test_there_are_cases():
    assert len(NAMES) >= 40

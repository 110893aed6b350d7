"""From what targets start from to their graphs: each compiled with those that it is linked to."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lazybuild.build import translate
from lazybuild.build.inputs import Inputs
from lazybuild.dockerfile import checks
from lazybuild.dockerfile.compile import compile as compile_document
from lazybuild.dockerfile.options import Compiled, CompileOptions, FrontendInput, Resolver
from lazybuild.events import Sink
from lazybuild.llb.graph import Edge, Vertex, walk
from lazybuild.llb.ops import SourceOp
from lazybuild.request import BuildRequest

LOCAL = "local:"
SOURCE = "local://"


def compile_checked(
    request: BuildRequest,
    given: Inputs,
    options: CompileOptions,
    resolver: Resolver,
    sink: Sink,
) -> Compiled:
    """The graph of a target for one platform. Raises what the checks are told to make an error."""
    compiled = compile_document(given.document, options, resolver)
    found = checks.findings(given.document, options, compiled)
    for finding in found:
        sink(translate.warning(finding))
    broken = checks.violation(found, checks.choice_of(given.document, request.build_args))
    if broken is not None:
        raise broken
    return compiled


def linked(
    given: Inputs, links: Mapping[str, str], made: Mapping[str, Sequence[Compiled]]
) -> Inputs:
    """With other targets as named contexts: one for all platforms, or one for each."""
    if not links:
        return given
    given.require_dockerfile("a context that is another target")
    contexts, inputs = dict(given.contexts), dict(given.inputs)
    for name, target in links.items():
        for compiled in made[target]:
            several = len(made[target]) > 1
            ending = f"::{compiled.platform}" if several else ""
            key = f"target-{target}{ending}"
            contexts[f"{name}{ending}"] = f"input:{key}"
            inputs[key] = FrontendInput(
                head=compiled.head, config=compiled.config, base=compiled.base
            )
    return replace(given, contexts=contexts, inputs=inputs)


def distinct(given: Inputs, target: str, taken: dict[str, Path]) -> Inputs:
    """What a target has a name for, under a name that is its alone among all targets: directories
    (the same one keeps its name), and a Dockerfile that is no file. `taken` grows.

    A frontend image knows its directories by the names of the protocol: `renamed` comes after it.
    """
    if target and given.path == "-":
        given = replace(given, title=f"{target} (inline)")
    if given.frontend is not None:
        return given
    names = own_names(given.directories, taken)
    if all(name == own for name, own in names.items()):
        return given
    return replace(
        given,
        context=_renamed(given.context, names),
        contexts={name: _renamed(value, names) for name, value in given.contexts.items()},
        directories={names[name]: path for name, path in given.directories.items()},
        ignored_in={
            **{names[name]: given.ignored for name in names if given.context == LOCAL + name},
            **{names[name]: patterns for name, patterns in given.ignored_in.items()},
        },
    )


def own_names(directories: Mapping[str, Path], taken: dict[str, Path]) -> Mapping[str, str]:
    return {name: _name(name, path, taken) for name, path in directories.items()}


def renamed(compiled: Compiled, names: Mapping[str, str]) -> Compiled:
    """The same graph with other names for directories."""
    if compiled.head is None or all(name == own for name, own in names.items()):
        return compiled
    made: dict[str, Vertex] = {}
    for vertex in walk(compiled.head.vertex):
        op = vertex.op
        if isinstance(op, SourceOp) and op.identifier.startswith(SOURCE):
            op = replace(op, identifier=SOURCE + names[op.identifier.removeprefix(SOURCE)])
        inputs = tuple(Edge(made[edge.vertex.digest], edge.index) for edge in vertex.inputs)
        made[vertex.digest] = replace(vertex, op=op, inputs=inputs)
    return replace(compiled, head=Edge(made[compiled.head.vertex.digest], compiled.head.index))


def _name(name: str, path: Path, taken: dict[str, Path]) -> str:
    number, found = 1, name
    while taken.setdefault(found, path) != path:
        number += 1
        found = f"{name}-{number}"
    return found


def _renamed(source: str, names: Mapping[str, str]) -> str:
    kind, colon, name = source.partition(":")
    return LOCAL + names[name] if kind + colon == LOCAL else source

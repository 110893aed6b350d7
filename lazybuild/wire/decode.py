"""A graph that somebody else wrote: checked throughout, then llb values. Refuses, never guesses.

Everything in a definition is hostile: unknown numbers of enums, inputs that are not there, indexes
beyond what there is, paths with `..`, sizes. The first thing wrong is named in a HostileGraphError.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from lazybuild.errors import Span
from lazybuild.llb.graph import Edge, Vertex, VertexOptions
from lazybuild.llb.ops import (
    NO_INPUT,
    DiffOp,
    MergeOp,
    Op,
    Platform,
    SourceOp,
    outputs,
)
from lazybuild.wire.buildkit_frontend_protos import ops_pb2 as pb
from lazybuild.wire.decode_ops import HostileGraphError, read_exec, read_files, require
from lazybuild.wire.encode import COMMAND, NAME
from lazybuild.wire.marshal import digest_of

MAX_OPS = 65_536
MAX_BYTES = 64 << 20
MAX_INPUTS = 4096
MAX_TEXT = 64 << 10
MAX_SPANS = 64

__all__ = ["HostileGraphError", "decode", "texts"]

# What a source counts as; raises for one that may not be.
Admit = Callable[[SourceOp], SourceOp]


@dataclass(frozen=True, slots=True)
class _Parsed:
    """An op that could be read, with the digest of its bytes."""

    digest: str
    op: pb.Op


def as_it_is(source: SourceOp) -> SourceOp:
    return source


def decode(definition: pb.Definition, admit: Admit = as_it_is) -> Edge | None:
    """The graph, or None for an empty file system."""
    if not definition.ops:
        return None
    return _decode(definition, admit)


def decode_bytes(data: bytes) -> Edge | None:
    """The graph of a serialised definition."""
    require(len(data) <= MAX_BYTES, "the definition is too large")
    try:
        return decode(pb.Definition.FromString(data))
    except DecodeError as error:
        raise HostileGraphError("the definition is not protobuf") from error


def texts(definition: pb.Definition) -> Mapping[str, bytes]:
    """The files by name that the spans of a graph point into."""
    return {info.filename: info.data for info in definition.source.infos}


def _decode(definition: pb.Definition, admit: Admit) -> Edge | None:
    require(len(definition.ops) <= MAX_OPS, f"more than {MAX_OPS} ops")
    require(sum(map(len, definition.ops)) <= MAX_BYTES, "the definition is too large")
    parsed = [_parse(data) for data in definition.ops]
    last = parsed.pop()
    require(last.op.WhichOneof("op") is None, "the last op is not the terminal one")
    require(len(last.op.inputs) == 1, "the terminal op needs exactly one input")
    vertices: dict[str, Vertex] = {}
    for each in _inputs_first(parsed):
        vertices[each.digest] = _vertex(each, vertices, definition, admit)
    return _edge(last.op.inputs[0], vertices)


def _parse(data: bytes) -> _Parsed:
    try:
        return _Parsed(digest_of(data), pb.Op.FromString(data))
    except DecodeError as error:
        raise HostileGraphError("an op is not protobuf") from error


def _inputs_first(parsed: Iterable[_Parsed]) -> Iterator[_Parsed]:
    """Every op once, after what it needs. A cycle of digests can't be made, but is refused."""
    by_digest = {each.digest: each for each in parsed}
    state: dict[str, bool] = {}
    for start in by_digest:
        stack = [start]
        while stack:
            digest = stack[-1]
            if digest in state:
                stack.pop()
                if not state[digest]:
                    state[digest] = True
                    yield by_digest[digest]
                continue
            require(digest in by_digest, f"input {digest[:80]} is not in the definition")
            state[digest] = False
            for given in by_digest[digest].op.inputs:
                require(state.get(given.digest, True), "the graph has a cycle")
                stack.append(given.digest)


def _vertex(
    parsed: _Parsed, vertices: Mapping[str, Vertex], whole: pb.Definition, admit: Admit
) -> Vertex:
    message = parsed.op
    require(len(message.inputs) <= MAX_INPUTS, "an op has too many inputs")
    require(not message.constraints.filter, "worker constraints are not supported")
    inputs = tuple(_edge(given, vertices) for given in message.inputs)
    op = _op(message, len(inputs))
    vertex = Vertex(
        op=admit(op) if isinstance(op, SourceOp) else op,
        inputs=inputs,
        platform=read_platform(message.platform) if message.HasField("platform") else None,
        options=_options(whole, parsed.digest),
    )
    _ = vertex.digest  # now, while those of its inputs are there: later it would recurse
    return vertex


def _edge(given: pb.Input, vertices: Mapping[str, Vertex]) -> Edge:
    vertex = vertices.get(given.digest)
    if vertex is None:
        raise HostileGraphError(f"input {given.digest[:80]} is not in the definition")
    require(0 <= given.index < outputs(vertex.op), f"there is no output {given.index}")
    return Edge(vertex, given.index)


def _op(message: pb.Op, inputs: int) -> Op:
    match message.WhichOneof("op"):
        case "source":
            require(inputs == 0, "a source has no inputs")
            return _source(message.source)
        case "exec":
            return read_exec(message.exec, inputs)
        case "file":
            return read_files(message.file, inputs)
        case "merge":
            return _merge(message.merge, inputs)
        case "diff":
            return _diff(message.diff, inputs)
        case other:
            raise HostileGraphError(f"an op of the kind {other or 'nothing'} is not supported")


def _source(message: pb.SourceOp) -> SourceOp:
    scheme, mark, _ = message.identifier.partition("://")
    require(bool(scheme and mark), f"{message.identifier[:80]!r} is not a source")
    pairs = tuple(sorted(message.attrs.items()))
    for text in (message.identifier, *(part for pair in pairs for part in pair)):
        require("\0" not in text and len(text) <= MAX_BYTES, "a source has a NUL in its name")
    return SourceOp(identifier=message.identifier, attrs=pairs)


def _merge(message: pb.MergeOp, inputs: int) -> MergeOp:
    order = [each.input for each in message.inputs]
    require(order == list(range(inputs)), "a merge takes each of its inputs once, in order")
    return MergeOp()


def _diff(message: pb.DiffOp, inputs: int) -> DiffOp:
    lower, upper = message.lower.input, message.upper.input
    for number in (lower, upper):
        require(NO_INPUT <= number < inputs, f"there is no input {number}")
    return DiffOp(lower=lower, upper=upper)


def read_platform(message: pb.Platform) -> Platform:
    words = (message.OS, message.Architecture, message.Variant)
    for word in words:
        require(len(word) <= MAX_TEXT and "/" not in word, "a platform has a name with a slash")
    require(bool(message.OS and message.Architecture), "a platform has no name")
    return Platform(
        os=message.OS,
        architecture=message.Architecture,
        variant=message.Variant,
        os_version=message.OSVersion,
        os_features=tuple(message.OSFeatures),
    )


def _options(whole: pb.Definition, digest: str) -> VertexOptions:
    if digest not in whole.metadata:  # looking it up would add it
        return VertexOptions(spans=_spans(whole, digest))
    told = whole.metadata[digest]
    described = dict(told.description)
    name, command = described.pop(NAME, ""), described.pop(COMMAND, "")
    return VertexOptions(
        name=name[:MAX_TEXT],
        command=command[:MAX_TEXT],
        spans=_spans(whole, digest),
        ignore_cache=told.ignore_cache,
        description=tuple(sorted(described.items())),
    )


def _spans(whole: pb.Definition, digest: str) -> tuple[Span, ...]:
    """Where a vertex comes from. Places in files that are not there are left out."""
    if digest not in whole.source.locations:
        return ()
    infos = whole.source.infos
    return tuple(
        _span(infos[place.sourceIndex].filename, each)
        for place in whole.source.locations[digest].locations[:MAX_SPANS]
        if 0 <= place.sourceIndex < len(infos)
        for each in place.ranges[:MAX_SPANS]
    )


def _span(path: str, given: pb.Range) -> Span:
    first = max(1, given.start.line)
    return Span(path=path, line=first, end_line=max(first, given.end.line))

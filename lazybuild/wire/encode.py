"""A graph as BuildKit takes it: a Definition, its ops under the digests that BuildKit will see."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lazybuild.errors import LazybuildError, Span
from lazybuild.llb.graph import Edge, Vertex, walk
from lazybuild.llb.ops import DiffOp, ExecOp, FileOp, MergeOp, Platform, SourceOp
from lazybuild.wire import capabilities
from lazybuild.wire.buildkit_frontend_protos import ops_pb2 as pb
from lazybuild.wire.encode_ops import exec_message, file_message
from lazybuild.wire.marshal import digest_of, op_bytes

NAME = "llb.customname"
COMMAND = "com.docker.dockerfile.v1.command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A file that spans point into, as it is shown when a step of it fails."""

    path: str
    data: bytes
    language: str = "Dockerfile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Limits of a RUN step; zero and "" mean none."""

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""

    def __bool__(self) -> bool:
        return self != Resources()


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a graph is written: what is added to its sources, the texts its spans are from.

    `offered` is what the daemon can do; optional capabilities it lacks are left out.
    """

    attrs: Callable[[SourceOp], Mapping[str, str]] = lambda _: {}
    texts: tuple[Text, ...] = ()
    offered: Mapping[str, bool] = field(default_factory=dict)
    resources: Resources = Resources()


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A definition, the digest each vertex has on the other side, and what it asks for."""

    definition: pb.Definition
    digests: Mapping[str, str]
    capabilities: frozenset[str]


def encode(head: Edge | None, style: Style = Style()) -> Encoded:
    """Write a graph. Nothing at all, an empty file system, is an empty definition."""
    writer = _Writer(style)
    if head is None:
        return writer.done()
    try:
        for vertex in walk(head.vertex):
            writer.add(vertex)
        writer.end(head)
    except UnicodeEncodeError as error:
        raise LazybuildError(
            f"BuildKit takes UTF-8 only, and this is not: {ascii(error.object)[:80]}"
        ) from error
    return writer.done()


class _Writer:
    def __init__(self, style: Style) -> None:
        self._style = style
        self._definition = pb.Definition()
        self._digests: dict[str, str] = {}
        self._needed: set[str] = set()
        self._files = {text.path: index for index, text in enumerate(style.texts)}

    def add(self, vertex: Vertex) -> None:
        """One more op; its inputs have been added."""
        data = op_bytes(self._op(vertex))
        digest = digest_of(data)
        if digest not in self._definition.metadata:
            self._definition.ops.append(data)
            self._describe(vertex, self._definition.metadata[digest])
        self._locate(digest, vertex.options.spans)
        self._digests[vertex.digest] = digest

    def end(self, head: Edge) -> None:
        """The last op does nothing: its input is the result."""
        terminal = op_bytes(pb.Op(inputs=[self._input(head)]))
        self._definition.ops.append(terminal)
        self._definition.metadata[digest_of(terminal)].SetInParent()
        if self._definition.source.locations:
            infos = (_info(text) for text in self._style.texts)
            self._definition.source.infos.extend(infos)

    def done(self) -> Encoded:
        return Encoded(
            definition=self._definition,
            digests=self._digests,
            capabilities=frozenset(self._needed),
        )

    def _op(self, vertex: Vertex) -> pb.Op:
        op = pb.Op(inputs=[self._input(edge) for edge in vertex.inputs])
        if vertex.platform is not None:
            op.platform.CopyFrom(platform_message(vertex.platform))
        match vertex.op:
            case SourceOp() as source:
                op.source.CopyFrom(self._source(source))
            case ExecOp() as step:
                known = capabilities.adapted(step, self._style.offered)
                op.exec.CopyFrom(exec_message(known))
            case FileOp() as files:
                op.file.CopyFrom(file_message(files))
            case MergeOp():
                op.merge.inputs.extend(pb.MergeInput(input=n) for n in range(len(op.inputs)))
            case DiffOp(lower=lower, upper=upper):
                op.diff.lower.input, op.diff.upper.input = lower, upper
        return op

    def _input(self, edge: Edge) -> pb.Input:
        return pb.Input(digest=self._digests[edge.vertex.digest], index=edge.index)

    def _source(self, source: SourceOp) -> pb.SourceOp:
        attrs = dict(source.attrs) | dict(self._style.attrs(source))
        return pb.SourceOp(identifier=source.identifier, attrs=attrs)

    def _describe(self, vertex: Vertex, told: pb.OpMetadata) -> None:
        options = vertex.options
        told.ignore_cache = options.ignore_cache
        told.description.update(options.description)
        if options.name:
            told.description[NAME] = options.name
        if options.command:
            told.description[COMMAND] = options.command
        for name in self._capabilities(vertex):
            told.caps[name] = True
            self._needed.add(name)
        if isinstance(vertex.op, ExecOp) and self._style.resources:
            told.linux_resources.CopyFrom(_resources(self._style.resources))

    def _capabilities(self, vertex: Vertex) -> Iterator[str]:
        for name in self._all_capabilities(vertex):
            if not capabilities.optional(name) or self._style.offered.get(name, False):
                yield name

    def _all_capabilities(self, vertex: Vertex) -> set[str]:
        found = set(capabilities.required(vertex))
        if isinstance(vertex.op, SourceOp):
            added = tuple(self._style.attrs(vertex.op).items())
            whole = SourceOp(identifier=vertex.op.identifier, attrs=added)
            found.update(capabilities.required(Vertex(op=whole)))
        if isinstance(vertex.op, ExecOp) and self._style.resources:
            found.add("exec.meta.linux.resources")
        return found

    def _locate(self, digest: str, spans: Iterable[Span]) -> None:
        known = [span for span in spans if span.path in self._files]
        if known:
            # the key is made by looking it up
            places = self._definition.source.locations[digest].locations
            fresh = (location_message(self._files[span.path], span) for span in known)
            places.extend(place for place in fresh if place not in places)


def platform_message(platform: Platform) -> pb.Platform:
    return pb.Platform(
        OS=platform.os,
        Architecture=platform.architecture,
        Variant=platform.variant,
        OSVersion=platform.os_version,
        OSFeatures=platform.os_features,
    )


def range_message(span: Span) -> pb.Range:
    """Whole lines, as the reference has them."""
    return pb.Range(start=pb.Position(line=span.line), end=pb.Position(line=span.end_line))


def location_message(index: int, span: Span) -> pb.Location:
    return pb.Location(sourceIndex=index, ranges=[range_message(span)])


def _info(text: Text) -> pb.SourceInfo:
    return pb.SourceInfo(filename=text.path, data=text.data, language=text.language)


def _resources(wanted: Resources) -> pb.LinuxResources:
    return pb.LinuxResources(
        memory=wanted.memory,
        memorySwap=wanted.memory_swap,
        cpuShares=wanted.cpu_shares,
        cpuPeriod=wanted.cpu_period,
        cpuQuota=wanted.cpu_quota,
        cpusetCpus=wanted.cpuset_cpus,
        cpusetMems=wanted.cpuset_mems,
    )

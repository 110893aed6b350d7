"""`Worker`: the solver's `Ops` on this machine. Sends each op to the module that knows it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from lazybuild.errors import BuildError, DaemonDiedError, LazybuildError, NotSupportedYetError
from lazybuild.events import Warned
from lazybuild.llb.graph import Edge, Vertex
from lazybuild.llb.ops import DiffOp, ExecOp, FileOp, MergeOp, SourceOp
from lazybuild.snapshots.contenthash import Selection as Content
from lazybuild.snapshots.contenthash import content_digest
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.snapshots.tree import Tree
from lazybuild.solver.types import KeyPlan, Selection
from lazybuild.store import disk
from lazybuild.worker import keys
from lazybuild.worker.services import Result, Services, Source, scheme

MAX_LAYERS = 4096


class Worker:
    """Safe in threads; one for each pass of a build."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def plan(self, vertex: Vertex) -> KeyPlan:
        if isinstance(vertex.op, SourceOp):
            return self._source(vertex.op).plan(vertex, vertex.op)
        return keys.plan(vertex)

    def content(self, vertex: Vertex, index: int, selection: Selection, result: Result) -> str:
        tree = self.tree(output(result, vertex.inputs[index]))
        with self._reading():
            parts = [content_digest(tree, cast("Content", part)) for part in selection.paths]
        if isinstance(result, HostTree):
            result.flush()
        return parts[0] if len(parts) == 1 else keys.fingerprint(list(parts))

    def run(self, vertex: Vertex, inputs: Sequence[Result]) -> Result:
        """Do the op; once more, from the start, when the lazy file system ended meanwhile."""
        inputs = [output(item, edge) for item, edge in zip(inputs, vertex.inputs, strict=True)]
        lost = self._services.lost()
        try:
            with self._reading():
                return self._run(vertex, inputs)
        except LazybuildError as error:
            ended = lost.is_set() or isinstance(error, DaemonDiedError)
            if not ended or self._services.stop.is_set():
                raise
        self._again(vertex)
        with self._reading():
            return self._run(vertex, inputs)

    def _again(self, vertex: Vertex) -> None:
        self._services.renew()
        text = "the lazy file system ended during the step, which runs again from its start"
        self._services.sink(Warned(message=f"{vertex.name}: {text}", vertex=vertex.digest))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What fails for an I/O error has a cause that the lazy file system can tell."""
        try:
            yield
        except BuildError:
            self._services.check()
            raise
        except OSError as error:
            self._services.check()
            told = disk.trouble(error, self._services.store.root)
            message = f"{error.filename or ''}: {error.strerror}".strip(": ")
            raise told or BuildError(message) from error

    def _run(self, vertex: Vertex, inputs: Sequence[Result]) -> Result:
        op = vertex.op
        match op:
            case SourceOp():
                return self._source(op).load(vertex, op)
            case FileOp():
                from lazybuild.worker import files  # noqa: PLC0415 - not for what is cached

                return files.run(self._services, vertex, op, inputs)
            case ExecOp():
                from lazybuild.worker import execution  # noqa: PLC0415 - not for what is cached

                return execution.run(self._services, vertex, op, inputs)
            case MergeOp():
                return merge(inputs)
            case DiffOp():
                raise NotSupportedYetError("DiffOp in a graph is not supported yet")

    def tree(self, result: Result) -> Tree:
        if isinstance(result, HostTree):
            return result
        return self._services.snapshots.tree(result)

    def _source(self, op: SourceOp) -> Source:
        source = self._services.sources(scheme(op))
        if source is None:
            raise NotSupportedYetError(f"source {op.identifier} is not supported yet")
        return source


def output(result: Result, edge: Edge) -> Result:
    """What an edge stands for of its vertex's result."""
    return result if isinstance(result, HostTree) else result.output(edge.index)


def merge(inputs: Sequence[Result]) -> Snapshot:
    """One over the other. A layer that both have stays in both places: what lies between may have
    removed what it holds. BuildError for more than anybody needs: a few merges of merges can double
    their way to any number.
    """
    snapshots = [item for item in inputs if isinstance(item, Snapshot)]
    if sum(len(snapshot.layers) for snapshot in snapshots) > MAX_LAYERS:
        raise BuildError(f"a merge of more than {MAX_LAYERS} layers")
    return Snapshot(tuple(layer for snapshot in snapshots for layer in snapshot.layers))

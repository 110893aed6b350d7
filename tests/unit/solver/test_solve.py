"""The solver over fake ops: nothing but the graph and what is asked of it."""

import threading
import time
from dataclasses import replace

import pytest

from lazybuild.errors import BuildError, Span
from lazybuild.events import VertexDone
from lazybuild.llb.graph import Edge, Vertex, VertexOptions
from lazybuild.llb.ops import ExecOp, MergeOp, Meta, SourceOp
from lazybuild.solver.once import StoppedError
from lazybuild.solver.report import Reporter
from lazybuild.solver.solve import MAX_DEPTH, Solver
from lazybuild.solver.types import KeyPlan, Selection


class FakeOps:
    """Results are strings made of the inputs' results; content is what `contents` says."""

    def __init__(self, contents=None, unstable=(), fail=(), seconds=0.0):
        self.ran, self.contents = [], contents or {}
        self.unstable, self.fail, self.seconds = unstable, fail, seconds

    def plan(self, vertex):
        content = isinstance(vertex.op, MergeOp)
        inputs = tuple(Selection(fingerprint="all") if content else None for _ in vertex.inputs)
        return KeyPlan(digest=vertex.name, inputs=inputs, stable=vertex.name not in self.unstable)

    def content(self, vertex, index, selection, result):
        return self.contents.get(result, result)

    def run(self, vertex, inputs):
        time.sleep(self.seconds)
        if vertex.name in self.fail:
            raise BuildError(f"{vertex.name} failed")
        self.ran.append(vertex.name)
        return f"{vertex.name}({','.join(inputs)})"


class FakeCache:
    def __init__(self):
        self.records, self.memos = {}, {}

    def holds(self, key):
        return key in self.records

    def load(self, key, vertex):
        return self.records.get(key)

    def save(self, key, vertex, result):
        self.records[key] = result

    def memo(self, key):
        return self.memos.get(key)

    def save_memo(self, key, value):
        self.memos[key] = value


def source(name):
    return Vertex(op=SourceOp(identifier=name), options=VertexOptions(name=name))


def run(name, *inputs, **options):
    op = ExecOp(meta=Meta(args=(name,)), mounts=())
    edges = tuple(Edge(vertex) for vertex in inputs)
    return Vertex(op=op, inputs=edges, options=VertexOptions(name=name, **options))


def merge(name, *inputs):
    edges = tuple(Edge(vertex) for vertex in inputs)
    return Vertex(op=MergeOp(), inputs=edges, options=VertexOptions(name=name))


def solve(head, ops, cache=None, sink=lambda event: None, **options):
    solver = Solver(ops, cache or FakeCache(), Reporter(sink), **options)
    return solver.solve([head])[0]


def test_each_vertex_runs_once_and_inputs_first():
    base = source("base")
    one, two = run("one", base), run("two", base)
    ops = FakeOps()
    assert solve(merge("all", one, two), ops) == "all(one(base()),two(base()))"
    assert sorted(ops.ran) == ["all", "base", "one", "two"]


def test_a_second_solve_runs_nothing_and_reports_the_chain_as_cached():
    head, cache, events = run("two", run("one", source("base"))), FakeCache(), []
    solve(head, FakeOps(), cache)
    again = FakeOps()
    solve(head, again, cache, events.append)
    assert again.ran == []
    done = [event for event in events if isinstance(event, VertexDone)]
    assert [event.name for event in done] == ["base", "one", "two"]
    assert all(event.cached for event in done)


def test_a_hit_does_not_need_the_records_of_its_inputs():
    base, cache = source("base"), FakeCache()
    head = run("two", run("one", base))
    solver = Solver(FakeOps(), cache, Reporter(lambda event: None))
    solver.solve([head])
    cache.records = {solver.key(head): "kept"}
    again = FakeOps()
    assert solve(head, again, cache) == "kept"
    assert again.ran == []


def test_content_decides_the_key_of_a_vertex_that_selects():
    cache = FakeCache()
    one = solve(merge("copy", source("a")), FakeOps({"a()": "same"}), cache)
    again = FakeOps({"b()": "same"})
    assert solve(merge("copy", source("b")), again, cache) == one
    assert again.ran == ["b"]


def test_an_unstable_source_is_looked_at_each_time_and_never_stored():
    cache = FakeCache()
    head = merge("copy", source("ctx"))
    solve(head, FakeOps(unstable=("ctx",)), cache)
    changed = FakeOps({"ctx()": "changed"}, unstable=("ctx",))
    solve(head, changed, cache)
    assert changed.ran == ["ctx", "copy"]


def test_ignore_cache_runs_the_step_again():
    cache = FakeCache()
    solve(run("one", source("base")), FakeOps(), cache)
    again = FakeOps()
    solve(run("one", source("base"), ignore_cache=True), again, cache)
    assert "one" in again.ran


def test_independent_branches_run_at_the_same_time():
    gate = threading.Barrier(2, timeout=5)

    class Meeting(FakeOps):
        def run(self, vertex, inputs):
            if vertex.name in {"one", "two"}:
                gate.wait()
            return super().run(vertex, inputs)

    solve(merge("all", run("one", source("a")), run("two", source("b"))), Meeting())


def test_jobs_bounds_the_commands_that_run_at_a_time():
    running, most = [0], [0]

    class Counting(FakeOps):
        def run(self, vertex, inputs):
            if vertex.name.startswith("run"):
                running[0] += 1
                most[0] = max(most[0], running[0])
                time.sleep(0.02)
                running[0] -= 1
            return super().run(vertex, inputs)

    heads = [run(f"run{number}", source(str(number))) for number in range(5)]
    solve(merge("all", *heads), Counting(), jobs=1)
    assert most == [1]


def test_the_first_failure_is_told_and_nothing_is_begun_after_it():
    stop = threading.Event()

    class Waiting(FakeOps):
        def run(self, vertex, inputs):
            if vertex.name == "slow":
                assert stop.wait(5)
            return super().run(vertex, inputs)

    slow = run("after", run("slow", source("a")))
    ops = Waiting(fail=("bad",))
    with pytest.raises(BuildError, match="bad failed"):
        solve(merge("all", slow, run("bad", source("b"))), ops, stop=stop)
    assert "after" not in ops.ran


def test_a_build_error_learns_the_place_of_its_instruction():
    span = Span(path="Dockerfile", line=3, end_line=3)
    with pytest.raises(BuildError) as caught:
        solve(run("bad", source("b"), spans=(span,)), FakeOps(fail=("bad",)))
    assert caught.value.span == span


def test_several_graphs_share_what_they_have_in_common():
    base = source("base")
    common, ops = run("common", base), FakeOps()
    solver = Solver(ops, FakeCache(), Reporter(lambda event: None))
    heads = [run("one", common), run("two", common)]
    assert solver.solve(heads) == ["one(common(base()))", "two(common(base()))"]
    assert ops.ran.count("common") == 1


def test_vertices_with_the_same_key_run_once_and_the_others_are_cached():
    """Two sources of the same content: the digests of their copies differ, their keys do not."""
    ops, events = FakeOps({"a()": "same", "b()": "same"}, seconds=0.05), []
    solver = Solver(ops, FakeCache(), Reporter(events.append))
    one, two = solver.solve([merge("copy", source("a")), merge("copy", source("b"))])
    assert one == two
    assert ops.ran.count("copy") == 1
    done = [e for e in events if isinstance(e, VertexDone) and e.name == "copy"]
    assert sorted(event.cached for event in done) == [False, True]


def test_a_step_that_one_graph_wants_anew_runs_for_all():
    cache, ops = FakeCache(), FakeOps()
    solve(run("one", source("base")), FakeOps(), cache)
    solver = Solver(ops, cache, Reporter(lambda event: None))
    solver.solve([run("one", source("base")), run("one", source("base"), ignore_cache=True)])
    assert ops.ran.count("one") == 1


def test_what_is_finished_when_another_graph_fails_can_be_had():
    done, failed = threading.Event(), run("bad", source("base"))

    class Late(FakeOps):
        def run(self, vertex, inputs):
            if vertex.name == "bad":
                assert done.wait(5)
            found = super().run(vertex, inputs)
            if vertex.name == "good":
                done.set()
            return found

    good = run("good", source("base"))
    solver = Solver(Late(fail=("bad",)), FakeCache(), Reporter(lambda event: None))
    with pytest.raises(BuildError, match="bad failed"):
        solver.solve([failed, good])
    assert solver.peek(good) == "good(base())"
    assert solver.peek(failed) is None


def chain(length):
    vertex = source("base")
    for number in range(length - 1):
        vertex = Vertex(
            op=ExecOp(meta=Meta(args=(str(number),)), mounts=()),
            inputs=(Edge(vertex),),
            options=VertexOptions(name=f"step {number}"),
        )
        _ = vertex.digest
    return vertex


@pytest.mark.parametrize("parallel", [True, False])
def test_hundreds_of_steps_in_a_row_are_solved(parallel):
    ops = FakeOps()
    Solver(ops, FakeCache(), Reporter(lambda _: None), parallel=parallel).solve([chain(MAX_DEPTH)])
    assert len(ops.ran) == MAX_DEPTH


def test_more_steps_in_a_row_than_can_be_are_refused():
    solver = Solver(FakeOps(), FakeCache(), Reporter(lambda _: None))
    with pytest.raises(BuildError, match="1000 steps stand on one another"):
        solver.solve([chain(MAX_DEPTH + 1)])


def test_a_solve_goes_on_from_the_results_of_another():
    ops, done = FakeOps(), {}
    head = chain(3)
    again = replace(head, options=replace(head.options, ignore_cache=True))
    Solver(ops, FakeCache(), Reporter(lambda _: None), done=done).solve([again])
    Solver(ops, FakeCache(), Reporter(lambda _: None), done=done).solve([again])
    assert ops.ran == ["base", "step 0", "step 1"]


class Meeting(FakeOps):
    """`one` and `two` only end together."""

    def __init__(self, **options):
        super().__init__(**options)
        self.barrier = threading.Barrier(2)

    def run(self, vertex, inputs):
        if vertex.name in ("one", "two"):
            self.barrier.wait(10)
        return super().run(vertex, inputs)


class Copying(Meeting):
    """`copy` stands on its first input and selects of the others."""

    def plan(self, vertex):
        found = super().plan(vertex)
        return replace(found, inputs=(None, *found.inputs[1:])) if found.inputs else found


def test_what_a_copy_stands_on_runs_while_what_it_copies_from_does():
    head = merge("copy", run("one", source("a")), run("two", source("b")))
    ops = Copying()
    assert solve(head, ops) == "copy(one(a()),two(b()))"


def test_nothing_runs_beside_a_step_whose_content_is_known():
    cache = FakeCache()
    head = merge("copy", run("one", source("a")), run("two", source("b")))
    solve(head, Copying(), cache)
    solver = Solver(FakeOps(), cache, Reporter(lambda event: None))
    one, two = (edge.vertex for edge in head.inputs)
    assert (solver.runs(one), solver.runs(two), solver.runs(head)) == (False, False, None)
    cache.records = {}
    assert (solver.runs(one), solver.runs(run("new", one))) == (True, True)
    ops = Copying()
    ops.barrier = threading.Barrier(1)  # the content of two is known: only one has to run for it
    solve(head, ops, cache)
    assert sorted(name for name in ops.ran if name not in {"a", "b"}) == ["copy", "one", "two"]


def test_the_failure_of_a_step_beside_is_that_of_the_solve():
    head = merge("copy", run("one", source("a")), run("two", source("b")))
    with pytest.raises(BuildError, match="one failed"):
        solve(head, Copying(fail=("one",)))


def test_what_stopped_a_step_is_told_and_not_that_it_was_stopped():
    class Stopped(Copying):
        def run(self, vertex, inputs):
            if vertex.name == "two":
                assert stop.wait(10)
                raise StoppedError("cancelled")
            if vertex.name == "one":
                raise BuildError("one failed")
            return FakeOps.run(self, vertex, inputs)

    stop = threading.Event()
    head = merge("copy", run("one", source("a")), run("two", source("b")))
    with pytest.raises(BuildError, match="one failed"):
        solve(head, Stopped(), stop=stop)


def test_a_thousand_inputs_need_no_thousand_threads():
    counts = []

    class Counting(FakeOps):
        def run(self, vertex, inputs):
            counts.append(threading.active_count())
            return super().run(vertex, inputs)

    inputs = tuple(Edge(source(f"s{number}")) for number in range(1000))
    head = Vertex(op=MergeOp(), inputs=inputs, options=VertexOptions(name="all"))
    ops = Counting(seconds=0.001)
    Solver(ops, FakeCache(), Reporter(lambda _: None)).solve([head])
    assert len(ops.ran) == 1001
    assert max(counts) < 200


def test_a_system_that_gives_no_more_threads_slows_a_solve_down(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    inputs = tuple(Edge(source(f"s{number}")) for number in range(9))
    head = Vertex(op=MergeOp(), inputs=inputs, options=VertexOptions(name="all"))
    ops = FakeOps()
    Solver(ops, FakeCache(), Reporter(lambda _: None)).solve([head])
    assert len(ops.ran) == 10

"""The protocol with a frontend over a real connection: what each call gives, what it refuses."""

import os
import stat

import pytest
from support.talk import HERE, conversation, local

from lazybuild.errors import Span, UsageError
from lazybuild.events import Warned
from lazybuild.llb.graph import Edge, Vertex, VertexOptions
from lazybuild.llb.ops import DiffOp, ExecOp, MergeOp, Meta, Mount, NetworkMode, SourceOp
from lazybuild.wire.buildkit_frontend_protos import gateway_pb2 as pb
from lazybuild.wire.buildkit_frontend_protos import ops_pb2
from lazybuild.wire.decode import decode
from lazybuild.wire.encode import Style, Text, encode
from lazybuild.wire.faults import NOT_FOUND, UNIMPLEMENTED, Place, RemoteError, place_of, status
from lazybuild.wire.filesync import GO_DIR, GO_SYMLINK
from lazybuild.wire.gateway import Lookup, Outcome, Statement


def solved(talk, head=None):
    return talk.gateway.solve(encode(head or local()))


def step(*, inputs=(), network=NetworkMode.UNSET, mounts=(), name="run", spans=()):
    root = Mount(dest="/", input=0 if inputs else -1, output=0)
    op = ExecOp(meta=Meta(args=("x",)), mounts=(root, *mounts), network=network)
    return Edge(Vertex(op=op, inputs=inputs, options=VertexOptions(name=name, spans=spans)))


def refused(call, text, code=None):
    with pytest.raises(RemoteError) as caught:
        call()
    assert text in caught.value.message
    if code is not None:
        assert caught.value.status.code == code
    return caught.value


# --- what it gives -------------------------------------------------------------------------------


def test_ping_says_what_can_be_done(talk):
    offer = talk.gateway.ping()
    assert offer.frontend["readfile"]
    assert "gateway.exec" not in offer.frontend
    assert offer.llb["mergeop"]
    assert "diffop" not in offer.llb
    assert offer.workers[0].platforms == (HERE,)


def test_a_file_of_a_solved_directory(talk, place):
    (place / "Dockerfile").write_bytes(b"FROM x\n")
    ref = solved(talk)
    assert talk.engine.solved == [], "a solve is lazy"
    assert talk.gateway.read_file(ref, "/Dockerfile") == b"FROM x\n"
    assert talk.gateway.read_file(ref, "Dockerfile", length=4) == b"FROM"
    part = pb.ReadFileRequest(
        Ref=ref, FilePath="Dockerfile", Range=pb.FileRange(Offset=5, Length=9)
    )
    assert talk.raw.call("ReadFile", part, pb.ReadFileResponse).Data == b"x\n"


def test_how_a_directory_is_carried_is_nobodys_business(talk):
    ref = solved(talk, local(unique="1", differ="none", followpaths='["a"]'))
    talk.raw.call("Evaluate", pb.EvaluateRequest(Ref=ref), pb.EvaluateResponse)
    (head,) = talk.engine.solved
    assert head.vertex.op.attrs == (("local.followpaths", '["a"]'),)


def test_names_and_metadata_of_files(talk, place):
    (place / "b.txt").write_bytes(b"12345")
    (place / "a").mkdir(mode=0o750)
    (place / "a").chmod(0o1750)
    os.symlink("b.txt", place / "link")
    ref = solved(talk)
    assert talk.gateway.names(ref, "/") == ("a", "b.txt", "link")
    assert talk.gateway.names(ref, "/", "*.txt") == ("b.txt",)

    def told(path):
        request = pb.StatFileRequest(Ref=ref, Path=path)
        return talk.raw.call("StatFile", request, pb.StatFileResponse).stat

    assert told("b.txt").size == 5
    assert told("/link").size == 5, "links are followed"
    assert told("a").mode == GO_DIR | 1 << 20 | 0o750
    request = pb.ReadDirRequest(Ref=ref, DirPath="/")
    entries = talk.raw.call("ReadDir", request, pb.ReadDirResponse).entries
    assert entries[2].mode & GO_SYMLINK
    assert entries[2].linkname == "b.txt"
    assert stat.S_IMODE(entries[1].mode) == stat.S_IMODE((place / "b.txt").stat().st_mode)


def test_an_empty_file_system_has_an_empty_ref(talk):
    assert talk.gateway.solve(encode(None)) == ""
    assert talk.gateway.names("", "/") == ()


def test_solve_in_the_forms_of_older_frontends(talk):
    definition = encode(local()).definition
    old = talk.raw.call("Solve", pb.SolveRequest(Definition=definition), pb.SolveResponse)
    assert old.ref
    request = pb.SolveRequest(Definition=definition, allowResultReturn=True)
    assert talk.raw.call("Solve", request, pb.SolveResponse).result.refDeprecated
    request.allowResultArrayRef = True
    made = talk.raw.call("Solve", request, pb.SolveResponse).result.ref
    assert getattr(made, "def") == definition


def test_a_solve_may_ask_for_the_work_at_once(talk):
    definition = encode(local()).definition
    talk.raw.call("Solve", pb.SolveRequest(Definition=definition, Evaluate=True), pb.SolveResponse)
    assert len(talk.engine.solved) == 1


def test_images_and_other_sources(talk):
    talk.gateway.ping()
    found = talk.gateway.resolve_image("debian", HERE, Lookup())
    assert found.reference == "debian|linux/amd64"
    assert found.config == b"{}"
    request = pb.ResolveImageConfigRequest(Ref="debian")
    answer = talk.raw.call("ResolveImageConfig", request, pb.ResolveImageConfigResponse)
    assert answer.Ref == "debian|None"
    assert talk.gateway.source_time(SourceOp(identifier="https://a.test/x")) == 7
    request = pb.ResolveSourceMetaRequest(Source=ops_pb2.SourceOp(identifier="https://a.test/x"))
    answer = talk.raw.call("ResolveSourceMeta", request, pb.ResolveSourceMetaResponse)
    assert answer.HTTP.SerializeToString().endswith(b"\x1a\x02\x08\x07"), "a Timestamp of 7 s"
    request = pb.ResolveSourceMetaRequest(Source=ops_pb2.SourceOp(identifier="git://a.test/x#main"))
    answer = talk.raw.call("ResolveSourceMeta", request, pb.ResolveSourceMetaResponse)
    assert answer.Git.Checksum == "sha256:" + "b" * 64
    assert not answer.Git.CommitObject
    assert talk.gateway.source_time(SourceOp(identifier="git://a.test/x#main")) == 77


def test_inputs(place):
    with conversation({"context": place}, inputs={"context": local()}) as talk:
        assert set(talk.gateway.inputs()) == {"context"}


def test_warnings_reach_the_user(talk):
    where = Place(span=Span(path="Dockerfile", line=3, end_line=3), data=b"")
    talk.gateway.warn("sha256:x", "Rule: text", url="https://x.test", detail="more", place=where)
    (event,) = talk.events
    assert isinstance(event, Warned)
    assert (event.message, event.path, event.line) == ("Rule: text", "Dockerfile", 3)
    assert event.detail == ("more",)


def test_a_result(talk):
    ref = solved(talk)
    talk.gateway.give(Outcome(refs={"": ref}, metadata={"k": b"v"}))
    assert talk.bridge.outcome == Outcome(refs={"": ref}, metadata={"k": b"v"})
    refused(lambda: talk.gateway.give(Outcome()), "after the result")
    refused(talk.gateway.ping, "after the result")


# --- failures ------------------------------------------------------------------------------------


def test_a_failed_step_keeps_its_place_on_the_way_to_the_frontend_and_back(talk):
    text = Text(path="Dockerfile", data=b"FROM x\nRUN y\n")
    head = step(spans=(Span(path="Dockerfile", line=2, end_line=2),))
    ref = talk.gateway.solve(encode(head, Style(texts=(text,))))
    error = refused(lambda: talk.gateway.names(ref, "/"), "run: failed")
    assert place_of(error.status).data == text.data
    talk.gateway.fail(error.status)
    assert talk.bridge.error is talk.talk.failures[-1]
    assert talk.bridge.error.source == "FROM x\nRUN y\n"


def test_a_failure_of_the_frontends_own(talk):
    place = Place(span=Span(path="a.yaml", line=4, end_line=5), data=b"text", language="yaml")
    details = {
        "errdefs.Source": {
            "info": {"filename": "a.yaml", "data": "dGV4dA=="},
            "ranges": [{"start": {"line": 4}, "end": {"line": 5}}],
        }
    }
    talk.gateway.fail(status("no such key", details=details))
    assert talk.bridge.error.message == "no such key"
    assert talk.bridge.error.span == place.span
    assert talk.bridge.error.source == "text"


def test_a_file_of_the_context_is_no_image_for_a_buildkit(talk):
    with pytest.raises(UsageError, match="no image out of a file"):
        talk.gateway.resolve_image("oci-archive:base.tar", HERE, Lookup())


def test_a_bug_of_ours_is_kept(talk, capfd):
    refused(lambda: talk.gateway.resolve_image("bug", HERE, Lookup()), "a bug of ours")
    assert isinstance(talk.talk.bug, RuntimeError)
    assert "RuntimeError" not in capfd.readouterr().err  # it is shown once, at the end


# --- hostile ones --------------------------------------------------------------------------------


def test_what_is_not_there(talk, place):
    ref = solved(talk)
    refused(lambda: talk.gateway.read_file(ref, "x"), "no such file", NOT_FOUND)
    refused(lambda: talk.gateway.read_file("guess", "x"), "no ref", NOT_FOUND)
    refused(lambda: talk.gateway.read_file(ref, "/"), "not a regular file")
    refused(lambda: talk.gateway.names(ref, "x"), "no such file")
    refused(lambda: talk.gateway.give(Outcome(refs={"": "guess"})), "no ref")


def test_links_lead_nowhere_outside(talk, place, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (place / "inside").write_bytes(b"inside")
    os.symlink(tmp_path / "secret", place / "absolute")
    os.symlink("../secret", place / "relative")
    os.symlink("/inside", place / "good")
    os.mkfifo(place / "fifo")
    ref = solved(talk)
    for path in ("absolute", "relative", "../secret", "/../../secret", "x/../../secret"):
        refused(lambda path=path: talk.gateway.read_file(ref, path), "no such file")
    refused(lambda: talk.gateway.read_file(ref, "fifo"), "not a regular file")
    assert talk.gateway.read_file(ref, "good") == b"inside"


def test_files_are_read_in_pieces_that_fit_a_message(talk, place):
    with (place / "large").open("wb") as file:
        file.truncate(1 << 40)
    ref = solved(talk)
    refused(lambda: talk.gateway.read_file(ref, "large"), "bytes are more than")
    assert talk.gateway.read_file(ref, "large", length=3) == b"\0\0\0"
    far = pb.ReadFileRequest(
        Ref=ref, FilePath="large", Range=pb.FileRange(Offset=1 << 50, Length=1)
    )
    assert talk.raw.call("ReadFile", far, pb.ReadFileResponse).Data == b""
    for bad in (pb.FileRange(Offset=-1, Length=1), pb.FileRange(Offset=0, Length=-1)):
        request = pb.ReadFileRequest(Ref=ref, FilePath="large", Range=bad)
        refused(lambda r=request: talk.raw.call("ReadFile", r, pb.ReadFileResponse), "a range")


NOT_GRANTED = {
    "another directory": (local("home"), "'home', which it was not given"),
    "another session": (
        Edge(
            Vertex(
                op=SourceOp(identifier="local://context", attrs=(("local.session", "other"),)),
            )
        ),
        "another session",
    ),
    "an unknown attribute": (local(metadatatransfer="1"), "local.metadatatransfer"),
    "a layout of a session": (
        Edge(Vertex(op=SourceOp(identifier="oci-layout://x@sha256:0"))),
        "oci-layout",
    ),
    "a file of the host": (Edge(Vertex(op=SourceOp(identifier="file:///etc/passwd"))), "file:///"),
    "the host's network": (step(network=NetworkMode.HOST), "network.host is not allowed without"),
}


@pytest.mark.parametrize("case", NOT_GRANTED)
def test_what_was_not_granted_is_refused(talk, case):
    head, text = NOT_GRANTED[case]
    request = pb.SolveRequest(Definition=encode(head).definition)
    for data in request.Definition.metadata.values():
        data.caps.clear()
    refused(lambda: talk.raw.call("Solve", request, pb.SolveResponse), text)
    assert talk.engine.solved == []


def test_a_step_may_have_several_results(talk):
    made = step(inputs=(local(),), mounts=(Mount(dest="/m", input=0, output=1),))
    assert solved(talk, made)
    assert solved(talk, Edge(made.vertex, 1))


def test_a_refused_op_is_shown_where_it_stands(talk):
    where = (Span(path="Dockerfile", line=2, end_line=2),)
    head = step(network=NetworkMode.HOST, spans=where)
    graph = encode(head, Style(texts=(Text(path="Dockerfile", data=b"FROM x\nRUN y\n"),)))
    error = refused(lambda: talk.gateway.solve(graph), "without --allow network.host")
    assert place_of(error.status).span.line == 2


def test_what_the_user_allows_is_allowed(place):
    with conversation({"context": place}, allow=("network.host",)) as talk:
        assert solved(talk, step(network=NetworkMode.HOST))


def test_an_op_without_capability_is_refused_by_its_name(talk):
    graph = encode(Edge(Vertex(op=DiffOp(lower=-1, upper=0), inputs=(local(),))))
    request = pb.SolveRequest(Definition=graph.definition)
    error = refused(lambda: talk.raw.call("Solve", request, pb.SolveResponse), "diffop")
    assert error.status.code == UNIMPLEMENTED
    graph.definition.metadata.clear()
    refused(
        lambda: talk.raw.call(
            "Solve", pb.SolveRequest(Definition=graph.definition), pb.SolveResponse
        ),
        "difference of two trees",
    )


def test_calls_that_are_not_here_are_refused_by_their_names(talk):
    for name in ("NewContainer", "ExecProcess", "ReleaseContainer", "Nonsense"):
        error = refused(
            lambda name=name: talk.raw.call(name, pb.PingRequest(), pb.PongResponse), name
        )
        assert error.status.code == UNIMPLEMENTED
    for field in ({"CacheImports": [{}]}, {"FrontendInputs": {"a": ops_pb2.Definition()}}):
        request = pb.SolveRequest(**field)
        refused(lambda r=request: talk.raw.call("Solve", r, pb.SolveResponse), next(iter(field)))


def calling(talk, inputs, **fields):
    given = {name: encode(head).definition for name, head in inputs.items()}
    request = pb.SolveRequest(
        Frontend="dockerfile.v0",
        FrontendOpt={"target": "x"},
        FrontendInputs=given,
        **({"allowResultReturn": True, "allowResultArrayRef": True} | fields),
    )
    return talk.raw.call("Solve", request, pb.SolveResponse)


def test_another_frontend_gives_refs_with_their_graphs_and_metadata(talk, place):
    (place / "a").write_text("a")
    result = calling(talk, {"": local()}).result
    assert result.metadata == {"told": b"['target']"}
    assert talk.gateway.read_file(result.ref.id, "a") == b"a"
    assert decode(getattr(result.ref, "def")).vertex.op.identifier == "local://context"
    many = calling(talk, {"linux/amd64": local(), "linux/arm64": None}).result.refs.refs
    assert talk.gateway.read_file(many["linux/amd64"].id, "a") == b"a"
    assert not many["linux/arm64"].id
    old = calling(talk, {"": local()}, allowResultReturn=False)
    assert talk.gateway.read_file(old.ref, "a") == b"a"
    assert len(talk.engine.solved) == 3
    calling(talk, {"": local()}, Evaluate=True)
    assert len(talk.engine.solved) == 4


def test_another_frontend_gets_no_more_than_this_one(talk):
    refused(lambda: calling(talk, {"": local("home")}), "'home', which it was not given")
    host = step(network=NetworkMode.HOST)
    refused(lambda: calling(talk, {"": host}), "network.host")
    both = {"Definition": encode(local()).definition}
    refused(lambda: calling(talk, {}, **both), "both a Frontend and a Definition")
    many = {"a": local(), "b": local()}
    refused(lambda: calling(talk, many, allowResultReturn=False), "several results")


def test_a_pattern_is_bounded(talk):
    ref = solved(talk)
    refused(lambda: talk.gateway.names(ref, "/", "*" * 5000), "a pattern is too long")


def test_graphs_are_bounded_in_size(talk, monkeypatch):
    monkeypatch.setattr("lazybuild.bridge.refs.MAX_BYTES", 500)
    solved(talk)
    refused(lambda: [solved(talk) for _ in range(9)], "more than")


def test_graphs_are_bounded_in_number(talk, monkeypatch):
    monkeypatch.setattr("lazybuild.bridge.refs.MAX_REFS", 3)
    for _ in range(3):
        solved(talk)
    refused(lambda: solved(talk), "more than 3 graphs")


def test_a_graph_that_makes_no_sense(talk):
    for data, text in ((b"\xff\xff", "not protobuf"), (b"", "refused a build graph")):
        request = pb.SolveRequest(Definition=ops_pb2.Definition(ops=[data, data]))
        refused(lambda r=request: talk.raw.call("Solve", r, pb.SolveResponse), text)
    merged = Edge(Vertex(op=MergeOp(), inputs=(local(), local())))
    definition = encode(merged).definition
    definition.ops.pop(0)
    request = pb.SolveRequest(Definition=definition)
    refused(lambda: talk.raw.call("Solve", request, pb.SolveResponse), "not in the definition")


def test_what_a_frontend_states_of_its_image(talk):
    said = Statement(type="https://a.test/b", ref=solved(talk), path="/s.json")
    talk.gateway.give(Outcome(refs={"": ""}, statements={"linux/amd64": (said,)}))
    assert talk.bridge.outcome.statements == {"linux/amd64": (said,)}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "without the type"),
        ({"kind": 1}, "bundles of attestations"),
        ({"inTotoSubjects": [{"kind": 1}]}, "about others"),
        ({"inTotoPredicateType": "t", "ref": {"id": "no"}}, "no ref is called"),
    ],
)
def test_what_it_can_not_state_is_refused(talk, fields, text):
    result = pb.Result(attestations={"a": {"attestation": [fields]}})
    request = pb.ReturnRequest(result=result)
    refused(lambda: talk.raw.call("Return", request, pb.ReturnResponse), text)
    assert talk.bridge.outcome is None


def test_what_it_states_is_bounded(talk):
    said = (Statement(type="t", ref="", path="x"),) * 65
    refused(lambda: talk.gateway.give(Outcome(statements={"a": said})), "more than 64 things")

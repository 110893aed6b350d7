"""Graphs to BuildKit's bytes and back: nothing is lost, and names are those that BuildKit gives."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dockerfiles import Images, compiled, image

from lazybuild.errors import LazybuildError, Span
from lazybuild.llb.graph import Edge, Vertex, VertexOptions, plain, walk
from lazybuild.llb.ops import (
    CopyAction,
    DiffOp,
    ExecOp,
    FileAction,
    FileOp,
    MergeOp,
    Meta,
    MkDirAction,
    MkFileAction,
    Mount,
    MountType,
    NetworkMode,
    Owner,
    Platform,
    ProxyEnv,
    RmAction,
    SecretEnv,
    SecurityMode,
    Sharing,
    SourceOp,
    SymlinkAction,
    Ulimit,
    User,
)
from lazybuild.wire import capabilities
from lazybuild.wire.buildkit_frontend_protos import ops_pb2 as pb
from lazybuild.wire.decode import decode, decode_bytes
from lazybuild.wire.encode import Style, Text, encode

CASES = Path(__file__).parents[3] / "testdata" / "Dockerfiles"
FILES = sorted(CASES.glob("*/Dockerfile"))
LINUX = Platform(os="linux", architecture="arm64", variant="v8", os_version="1", os_features=("x",))
BASE = Edge(Vertex(op=SourceOp(identifier="docker-image://docker.io/library/debian:12")))


class AnyImage(Images):
    def image(self, reference, platform):
        name = reference.partition("@")[0].removesuffix(":latest").rpartition("/")[2]
        self.images.setdefault(name, image(architecture="any", cmd=("bash",)))
        return super().image(reference, platform)


def same(one, other):
    """Graphs are the same when their digests are: every field of every op is in it."""
    return (one is None and other is None) or one == other


@pytest.mark.parametrize("path", FILES, ids=[path.parent.name for path in FILES])
def test_a_compiled_dockerfile_survives_the_way_there_and_back(path):
    try:
        result = compiled(path.read_text(), AnyImage(), allow=frozenset({"network.host"}))
    except LazybuildError:
        pytest.skip("not run: does not compile with default options")
    encoded = encode(result.head)
    again = decode(encoded.definition)
    assert same(result.head, again)
    assert encode(again).definition == encoded.definition
    if again is not None:
        told = [vertex.options.name for vertex in walk(again.vertex)]
        assert told == [vertex.options.name for vertex in walk(result.head.vertex)]


def everything():
    """A graph that uses every field there is."""
    owner = Owner(user=User(name="app", input=0), group=User(id=7))
    context = Edge(Vertex(op=SourceOp(identifier="local://c", attrs=(("a", "1"), ("b", "2")))))
    actions = (
        FileAction(
            action=CopyAction(
                src="/a*",
                dest="/b/",
                owner=owner,
                mode=0o644,
                mode_str="u+x",
                follow_symlink=True,
                dir_copy_contents=True,
                attempt_unpack=True,
                create_dest_path=True,
                allow_wildcard=True,
                allow_empty_wildcard=True,
                timestamp=5,
                include_patterns=("x",),
                exclude_patterns=("y",),
                always_replace=True,
                required_paths=("z",),
            ),
            input=0,
            secondary_input=1,
        ),
        FileAction(
            action=MkFileAction(path="/f", mode=0o600, data=b"\0\xff", owner=owner, timestamp=1),
            input=2,
        ),
        FileAction(
            action=MkDirAction(path="/d", mode=0o755, make_parents=True, owner=owner, timestamp=2),
            input=3,
        ),
        FileAction(action=RmAction(path="/r*", allow_not_found=True, allow_wildcard=True), input=4),
        FileAction(
            action=SymlinkAction(old_path="../x", new_path="/l", owner=owner, timestamp=3),
            input=5,
            output=0,
        ),
    )
    files = Edge(Vertex(op=FileOp(actions=actions), inputs=(BASE, context)))
    meta = Meta(
        args=("sh", "-c", "true"),
        env=("A=1", "B="),
        cwd="/w",
        user="app:app",
        proxy_env=ProxyEnv(http="h", https="s", ftp="f", no="n", all="a"),
        extra_hosts=(("h", "1.2.3.4"),),
        hostname="host",
        ulimits=(Ulimit(name="nofile", soft=1, hard=2),),
        cgroup_parent="p",
        valid_exit_codes=(0, 3),
        remove_mount_stubs_recursive=True,
    )
    mounts = (
        Mount(dest="/", input=0, output=0),
        Mount(dest="/b", input=1, output=1, selector="/s"),
        Mount(dest="/ro", input=1, readonly=True),
        Mount(dest="/c", type=MountType.CACHE, id="ns/x", sharing=Sharing.LOCKED),
        Mount(dest="/t", type=MountType.TMPFS, size=4096),
        Mount(dest="/k", type=MountType.SECRET, id="k", uid=1, gid=2, mode=0o400, optional=True),
        Mount(dest="/a", type=MountType.SSH, id="default", uid=3, gid=4, mode=0o600),
    )
    step = ExecOp(
        meta=meta,
        mounts=mounts,
        network=NetworkMode.HOST,
        security=SecurityMode.INSECURE,
        secret_env=(SecretEnv(id="i", name="N", optional=True),),
        cdi_devices=(("vendor/gpu", True),),
    )
    options = VertexOptions(
        name="[1/1] RUN", command="RUN true", ignore_cache=True, description=(("k", "v"),)
    )
    run = Vertex(op=step, inputs=(files, context), platform=LINUX, options=options)
    lower = Edge(Vertex(op=DiffOp(lower=-1, upper=0), inputs=(Edge(run, 1),)))
    return Edge(Vertex(op=MergeOp(), inputs=(Edge(run, 0), lower)))


def test_every_field_survives():
    head = everything()
    again = decode_bytes(encode(head).definition.SerializeToString())
    assert [plain(v.op) for v in walk(again.vertex)] == [plain(v.op) for v in walk(head.vertex)]
    assert again == head
    (run,) = (v for v in walk(again.vertex) if isinstance(v.op, ExecOp))
    assert run.options == next(v for v in walk(head.vertex) if isinstance(v.op, ExecOp)).options
    assert run.platform == LINUX


def test_an_op_is_written_as_go_writes_it():
    """The oneof last: inputs (1), platform (10), constraints (11), and only then source (3)."""
    source = SourceOp(identifier="docker-image://x", attrs=(("b", "2"), ("a", "1")))
    vertex = Vertex(op=source, platform=Platform(os="linux", architecture="amd64"))
    encoded = encode(Edge(vertex))
    want = (
        b"\x52\x0e" + b"\x0a\x05amd64" + b"\x12\x05linux"
        b"\x1a\x22" + b"\x0a\x10docker-image://x" + b"\x12\x06\x0a\x01a\x12\x011"
        b"\x12\x06\x0a\x01b\x12\x012"
    )
    assert encoded.definition.ops[0] == want
    assert encoded.digests[vertex.digest] == "sha256:" + hashlib.sha256(want).hexdigest()
    assert pb.Op.FromString(want).SerializeToString(deterministic=True) != want


def test_nothing_is_an_empty_definition():
    assert encode(None).definition == pb.Definition()
    assert decode(pb.Definition()) is None


def test_places_are_told_under_the_name_that_the_daemon_gives():
    span = Span(path="Dockerfile", line=2, end_line=3)
    vertex = Vertex(
        op=SourceOp(identifier="docker-image://x"),
        platform=LINUX,
        options=VertexOptions(spans=(span,)),
    )
    text = Text(path="Dockerfile", data=b"FROM x\nRUN y\n")
    encoded = encode(Edge(vertex), Style(texts=(text,)))
    source = encoded.definition.source
    assert source.infos[0].data == text.data
    (location,) = source.locations[encoded.digests[vertex.digest]].locations
    assert (location.ranges[0].start.line, location.ranges[0].end.line) == (2, 3)


def test_attributes_of_this_session_are_added_to_sources():
    vertex = Vertex(op=SourceOp(identifier="local://context"))
    encoded = encode(Edge(vertex), Style(attrs=lambda source: {"local.session": "s"}))
    op = pb.Op.FromString(encoded.definition.ops[0])
    assert op.source.attrs == {"local.session": "s"}
    assert "source.local.sessionid" in encoded.capabilities


def test_a_long_chain_is_no_trouble():
    edge = BASE
    for number in range(5000):
        step = MkDirAction(path=f"/{number}", mode=0o755)
        op = FileOp(actions=(FileAction(action=step, input=0, output=0),))
        edge = Edge(Vertex(op=op, inputs=(edge,)))
        _ = edge.vertex.digest
    assert decode(encode(edge).definition) == edge


def test_text_that_is_not_utf_8_is_refused_by_name():
    vertex = Vertex(op=SourceOp(identifier="local://\udcff"))
    with pytest.raises(LazybuildError, match="UTF-8"):
        encode(Edge(vertex))


def test_missing_capabilities_are_named():
    encoded = encode(everything())
    offered = dict.fromkeys(encoded.capabilities, True) | {"mergeop": False}
    with pytest.raises(capabilities.MissingCapabilityError, match=r"lacks .*: mergeop$"):
        capabilities.check(encoded.capabilities, offered)
    capabilities.check(encoded.capabilities, offered | {"mergeop": True})
    capabilities.check(encoded.capabilities, {})


@pytest.mark.parametrize("name", ["exec.mount.cache.sharing", "file.copy.modestring", "diffop"])
def test_what_is_used_is_asked_for(name):
    encoded = encode(everything())
    assert name in encoded.capabilities
    assert any(name in told.caps for told in encoded.definition.metadata.values())
    assert name not in encode(BASE).capabilities


@given(st.text(max_size=40), st.binary(max_size=40), st.integers(0, 0o7777))
def test_any_text_survives(name, data, mode):
    name = name.replace("\0", "").replace("..", "")
    op = FileOp(
        actions=(FileAction(action=MkFileAction(path=name, mode=mode, data=data), output=0),)
    )
    head = Edge(Vertex(op=op))
    assert decode(encode(head).definition) == head


def test_golden_cases_are_there():
    assert len(FILES) > 20

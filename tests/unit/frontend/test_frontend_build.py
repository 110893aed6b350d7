"""The frontend against a BuildKit of a few tables: what it asks, what it hands back, once."""

import json

import pytest
from support.bridge import Bridge, pinged
from support.dockerfiles import digest_of, image

from frontend import arrange
from frontend.build import serve
from frontend.options import read
from lazybuild.llb.graph import Edge, Vertex, walk
from lazybuild.llb.ops import CopyAction, ExecOp, FileOp, NetworkMode, SourceOp
from lazybuild.oci import codec
from lazybuild.wire.calls import open_channel
from lazybuild.wire.encode import encode
from lazybuild.wire.faults import place_of, status

DEBIAN = "docker.io/library/debian:12"


def debian(**fields):
    return {DEBIAN: (digest_of("debian"), codec.encode(image(**({"cmd": ("bash",)} | fields))))}


def run(dockerfile, *, options=(), files=None, **given):
    """One build; the bridge knows what happened."""
    own = {"dockerfile": {"Dockerfile": dockerfile.encode()}} | (files or {})
    images = given.pop("images", debian())
    if not any("LAZYBUILD_OUTPUT" in option for option in options):
        options = [*options, "build-arg:LAZYBUILD_OUTPUT=plain"]
    environment = {f"BUILDKIT_FRONTEND_OPT_{n}": text for n, text in enumerate(options)}
    environment["BUILDKIT_SESSION_ID"] = "session"
    commit = given.pop("commit", b"")
    with Bridge(own, images, **given) as bridge, open_channel(bridge.target) as channel:
        bridge.commit = commit
        bridge.status = serve(pinged(channel), read(environment))
    assert len(bridge.returned) == 1
    return bridge


def sources(head):
    return {v.op.identifier: dict(v.op.attrs) for v in walk(head.vertex) if _is_source(v)}


def _is_source(vertex):
    return isinstance(vertex.op, SourceOp)


def steps(head):
    return [vertex for vertex in walk(head.vertex) if isinstance(vertex.op, ExecOp)]


def test_a_build_gives_a_ref_and_a_config():
    bridge = run("FROM debian:12\nRUN make\nENV A=b\n")
    assert bridge.status == 0
    head = bridge.graph(bridge.result.ref.id)
    assert [step.op.meta.args for step in steps(head)] == [("/bin/sh", "-c", "make")]
    assert bridge.config()["config"]["Env"][-1] == "A=b"
    (platform,) = json.loads(bridge.result.metadata["refs.platforms"])["Platforms"]
    assert platform == {"ID": "linux/amd64", "Platform": {"architecture": "amd64", "os": "linux"}}


def test_steps_know_their_lines():
    bridge = run("FROM debian:12\nRUN false\n")
    definition = bridge.solves[int(bridge.result.ref.id)].Definition
    lines = {
        place.ranges[0].start.line
        for found in definition.source.locations.values()
        for place in found.locations
    }
    assert lines == {1, 2}
    assert definition.source.infos[0].data == b"FROM debian:12\nRUN false\n"


def test_the_context_is_this_sessions_and_without_what_is_ignored():
    files = {"context": {".dockerignore": b"*.log\n# c\n!keep.log\n"}}
    bridge = run("FROM scratch\nCOPY a /\n", files=files)
    (attrs,) = sources(bridge.graph(bridge.result.ref.id)).values()
    assert attrs["local.session"] == "session"
    assert json.loads(attrs["local.excludepatterns"]) == ["*.log", "!keep.log"]
    assert json.loads(attrs["local.followpaths"]) == ["a"]
    asked = sources(bridge.graph("0"))["local://dockerfile"]
    assert json.loads(asked["local.followpaths"]) == [
        "Dockerfile",
        "Dockerfile.dockerignore",
        "dockerfile",
    ]


def test_a_dockerfiles_own_ignore_file_wins():
    files = {
        "dockerfile": {"Dockerfile": b"FROM scratch\nCOPY a /\n", "Dockerfile.dockerignore": b"x"},
        "context": {".dockerignore": b"y"},
    }
    bridge = run("", files=files)
    attrs = sources(bridge.graph(bridge.result.ref.id))["local://context"]
    assert json.loads(attrs["local.excludepatterns"]) == ["x"]


def test_a_lower_case_dockerfile_is_found():
    bridge = run("", files={"dockerfile": {"dockerfile": b"FROM scratch\nLABEL a=b\n"}})
    assert bridge.config()["config"]["Labels"] == {"a": "b"}


def test_no_dockerfile_is_an_error_with_its_name():
    bridge = run("", files={"dockerfile": {}}, options=["filename=x/Dockerfile.dev"])
    assert bridge.status == 1
    assert "failed to read dockerfile" in bridge.error.message
    assert "x/Dockerfile.dev" in bridge.error.message


OPTIONS = [
    "build-arg:V=1",
    "label:l=m",
    "target=dev",
    "no-cache=",
    "add-hosts=h=1.2.3.4,i=::1",
    "ulimit=nofile=1:2,core=0",
    "shm-size=4096",
    "hostname=box",
    "cgroup-parent=cg",
    "force-network-mode=none",
    "memory=1000",
    "cpusetcpus=0-1",
    "image-resolve-mode=pull",
]


def test_options_reach_the_graph():
    text = "FROM debian:12 AS dev\nARG V\nRUN echo $V\nFROM scratch\n"
    bridge = run(text, options=OPTIONS)
    head = bridge.graph(bridge.result.ref.id)
    (step,) = steps(head)
    meta = step.op.meta
    assert "V=1" in meta.env
    assert step.options.ignore_cache
    assert step.op.network is NetworkMode.NONE
    assert meta.extra_hosts == (("h", "1.2.3.4"), ("i", "::1"))
    assert [(u.name, u.soft, u.hard) for u in meta.ulimits] == [("nofile", 1, 2), ("core", 0, 0)]
    assert (meta.hostname, meta.cgroup_parent) == ("box", "cg")
    assert [mount.size for mount in step.op.mounts if mount.dest == "/dev/shm"] == [4096]
    assert bridge.config()["config"]["Labels"] == {"l": "m"}
    assert any("resolvemode" in str(attrs) for attrs in sources(head).values())
    told = bridge.solves[int(bridge.result.ref.id)].Definition.metadata.values()
    limits = [each.linux_resources for each in told if each.HasField("linux_resources")]
    assert [(limit.memory, limit.cpusetCpus) for limit in limits] == [(1000, "0-1")]
    assert bridge.requests[0].ResolveMode == "pull"


def test_each_platform_has_a_ref_and_a_config():
    bridge = run(
        "FROM scratch\nARG TARGETARCH\nENV A=$TARGETARCH\nCOPY a /\n",
        options=["platform=linux/amd64,linux/arm64"],
    )
    assert set(bridge.result.refs.refs) == {"linux/amd64", "linux/arm64"}
    config = bridge.config("containerimage.config/linux/arm64")
    assert config["architecture"] == "arm64"
    assert "A=arm64" in config["config"]["Env"]
    listed = json.loads(bridge.result.metadata["refs.platforms"])["Platforms"]
    assert [each["ID"] for each in listed] == ["linux/amd64", "linux/arm64"]


def test_caches_are_imported_by_every_solve():
    imports = [{"Type": "registry", "Attrs": {"ref": "r/x"}}]
    options = ["cache-from=a/b", f"cache-imports={json.dumps(imports)}"]
    bridge = run("FROM scratch\nCOPY a /\n", options=options)
    solve = bridge.solves[int(bridge.result.ref.id)]
    found = [(each.Type, dict(each.Attrs)) for each in solve.CacheImports]
    assert found == [("registry", {"ref": "a/b"}), ("registry", {"ref": "r/x"})]


def test_an_empty_image_needs_no_solve():
    bridge = run("FROM scratch\nENV A=b\n")
    assert bridge.result.ref.id == ""
    assert bridge.result.WhichOneof("result") == "ref"


def test_named_contexts():
    options = ["context:lib=local:lib", "context:debian:12=docker-image://other:1"]
    images = {"docker.io/library/other:1": (digest_of("o"), codec.encode(image(user="me")))}
    text = "FROM debian:12\nCOPY --from=lib a /\n"
    files = {"lib": {".dockerignore": b"z"}}
    bridge = run(text, options=options, images=images, files=files)
    found = sources(bridge.graph(bridge.result.ref.id))
    assert any(name.startswith("docker-image://docker.io/library/other:1@") for name in found)
    assert json.loads(found["local://lib"]["local.excludepatterns"]) == ["z"]
    assert bridge.config()["config"]["User"] == "me"


def test_an_input_is_a_base_with_its_config():
    vertex = Vertex(op=SourceOp(identifier="docker-image://made/before"))
    config = json.dumps(codec.encode(image(env=("K=v",))).decode())
    options = [
        "context:base=input:base",
        f'input-metadata:base={{"containerimage.config": {config}}}',
    ]
    inputs = {"base": encode(Edge(vertex)).definition}
    bridge = run("FROM base\nRUN true\n", options=options, inputs=inputs)
    assert "docker-image://made/before" in sources(bridge.graph(bridge.result.ref.id))
    assert "K=v" in bridge.config()["config"]["Env"]


def test_a_git_context_brings_its_dockerfile():
    url = "https://example.org/r.git#main"
    files = {"git://example.org/r.git#main": {"Dockerfile": b"FROM scratch\nCOPY a /\n"}}
    bridge = run("", files=files, options=[f"context={url}"])
    head = bridge.graph(bridge.result.ref.id)
    assert list(sources(head)) == ["git://example.org/r.git#main"]


def test_a_dockerfile_that_is_a_graph():
    """Another frontend has made it; unless somebody says which local holds it."""
    made = Edge(Vertex(op=SourceOp(identifier="local://made")))
    given = {
        "inputs": {"dockerfile": encode(made).definition},
        "files": {"made": {"Dockerfile": b"FROM scratch\nCOPY a /\n"}},
    }
    head = (bridge := run("FRM", **given)).graph(bridge.result.ref.id)
    assert list(sources(head)) == ["local://context"]
    local = run("FRM", options=["dockerfilekey=dockerfile"], **given)
    assert "unknown instruction" in local.error.message


def dated(commit):
    files = {"git://example.org/r.git#main": {"Dockerfile": b"FROM scratch\nCOPY a /\n"}}
    options = ["context=https://example.org/r.git#main", "build-arg:SOURCE_DATE_EPOCH=context"]
    return run("", files=files, options=options, commit=commit)


def test_a_context_that_gives_its_time_to_the_image():
    bridge = dated(b"tree 1\ncommitter A <a@b> 1500000000 +0100\n\nx\n")
    assert bridge.result.metadata["source.date.epoch"] == b"1500000000"


def test_a_daemon_that_does_not_know_the_time_of_a_context():
    assert "can't tell when the source that SOURCE_DATE_EPOCH" in dated(b"").error.message


def test_no_step_is_called_by_the_password_of_a_git_context():
    url = "https://me:s3cret@example.org/r.git"
    files = {"git://example.org/r.git": {"Dockerfile": b"FROM scratch\nCOPY a /\n"}}
    bridge = run("", files=files, options=[f"context={url}"])
    titles = [vertex.name for vertex in walk(bridge.graph(bridge.result.ref.id).vertex)]
    assert "[internal] load git source https://xxxxx@example.org/r.git" in titles


@pytest.mark.parametrize(("data", "unpacks"), [(b"\x1f\x8b\x08rest", True), (b"FROM x", False)])
def test_an_address_is_an_archive_or_the_dockerfile_itself(data, unpacks):
    url = "https://example.org/c"
    text = b"FROM scratch\nCOPY a /\n"
    files = {url: {"context": data if unpacks else text, "Dockerfile": text}}
    bridge = run("", files=files, options=[f"context={url}"])
    actions = [
        action.action
        for vertex in walk(bridge.graph(bridge.result.ref.id).vertex)
        if isinstance(vertex.op, FileOp)
        for action in vertex.op.actions
    ]
    archives = [a for a in actions if isinstance(a, CopyAction) and a.src == "/context"]
    assert bool(archives) is unpacks


def test_warnings_hang_on_the_dockerfile():
    bridge = run("FROM debian:12 AS Base\nCMD echo\n")
    assert {warning.short.split(b":")[0] for warning in bridge.warnings} == {
        b"StageNameCasing",
        b"JSONArgsRecommended",
    }
    (digest,) = {warning.digest for warning in bridge.warnings}
    assert digest in bridge.solves[0].Definition.metadata
    first = bridge.warnings[0]
    assert (first.level, first.ranges[0].start.line) == (1, 1)
    assert first.info.data.startswith(b"FROM debian:12")


def test_a_mistake_comes_with_its_place():
    bridge = run("FROM debian:12\nCOPPY a b\n")
    assert bridge.error.message == "unknown instruction: COPPY (did you mean COPY?)"
    place = place_of(bridge.error)
    assert (place.span.line, place.data) == (2, b"FROM debian:12\nCOPPY a b\n")


def test_a_base_that_is_not_there_comes_with_its_place():
    bridge = run("ARG A\nFROM nowhere\n")
    assert "not found" in bridge.error.message
    assert bridge.error.code == 5
    assert place_of(bridge.error).span.line == 2


def test_what_buildkit_says_of_a_failure_is_handed_on():
    said = status("process failed", details={"errdefs.Vertex": {"digest": "d"}})
    own = {"dockerfile": {"Dockerfile": b"FROM scratch\nCOPY a /\n"}}
    with Bridge(own) as bridge, open_channel(bridge.target) as channel:
        bridge.failing["Solve"] = said
        serve(pinged(channel), read({}))
    assert bridge.error == said


def test_a_daemon_that_lacks_something_is_told_what():
    llb = {"file.base": False, "source.local": True, "meta.description": True}
    for name in ("sessionid", "followpaths", "sharedkeyhint", "differ", "unique"):
        llb[f"source.local.{name}"] = True
    bridge = run("FROM scratch\nCOPY a /\n", llb=llb)
    assert bridge.error.message.startswith("BuildKit lacks what this build needs: file.base")


def test_a_daemon_without_the_newer_question_is_asked_the_older_one():
    bridge = run("FROM debian:12\n", frontend=())
    assert bridge.requests[0].Ref == DEBIAN


def test_a_bug_is_told_to_the_user(monkeypatch, capsys):
    def fail(*_args):
        raise KeyError("oops")

    monkeypatch.setattr("frontend.build.compile_options", fail)
    bridge = run("FROM scratch\n")
    assert "bug in the frontend: KeyError" in bridge.error.message
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["cache-imports={"],
        ["cache-imports=[1]"],
        ["platform=nonsense/"],
        ["shm-size=big"],
        ["ulimit=nofile"],
        ["force-network-mode=weird"],
        ["image-resolve-mode=weird"],
        ["override-copy-image=x"],
        ["context=ftp://x"],
        ["input-metadata:base=5"],
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    vertex = Vertex(op=SourceOp(identifier="docker-image://x"))
    bridge = run(
        "FROM scratch\nCOPY a /\n",
        options=options,
        inputs={"base": encode(Edge(vertex)).definition},
    )
    assert bridge.status == 1
    assert "bug" not in bridge.error.message


def test_hostile_inputs_are_refused():
    bad = encode(Edge(Vertex(op=SourceOp(identifier="docker-image://x")))).definition
    bad.ops.append(b"\xff")
    bridge = run("FROM scratch\n", inputs={"base": bad})
    assert "not protobuf" in bridge.error.message


def test_an_error_check_fails_the_build():
    bridge = run("# check=error=true\nFROM debian:12 AS Base\n")
    assert "lint violation found for rules: StageNameCasing" in bridge.error.message


def test_a_step_may_ask_for_what_the_daemon_grants():
    bridge = run("FROM debian:12\nRUN --network=host true\n")
    (step,) = steps(bridge.graph(bridge.result.ref.id))
    assert step.op.network is NetworkMode.HOST


def test_an_sbom_that_will_not_be_made_is_missed_aloud():
    bridge = run("FROM scratch\nCOPY a /\n", options=["attest:sbom=", "attest:provenance=mode=min"])
    assert [warning.short for warning in bridge.warnings] == [
        b"this frontend makes no SBOM: the image will have none"
    ]


# --- the form of the result ----------------------------------------------------------------------

NEEDED = """
diffop mergeop meta.description file.base source.image source.local source.local.sessionid
source.local.followpaths source.local.differ source.local.sharedkeyhint source.local.excludepatterns
exec.meta.base exec.meta.network exec.mount.bind
"""
ABLE = {
    "frontend": ("source.metaresolver", "gateway.exec"),
    "llb": dict.fromkeys(NEEDED.split(), True),
}


@pytest.fixture
def own_image(tmp_path, monkeypatch):
    """What BuildKit leaves in a frontend's container."""
    source = SourceOp(identifier="docker-image://me/frontend")
    graph = encode(Edge(Vertex(op=source))).definition
    path = tmp_path / "frontend.bin"
    path.write_bytes(graph.SerializeToString())
    monkeypatch.setattr(arrange, "OWN_IMAGE", path)


def output(word):
    return [f"build-arg:LAZYBUILD_OUTPUT={word}"]


def said(bridge):
    return [warning.short.decode() for warning in bridge.warnings]


def test_without_an_image_of_its_own_nothing_is_ordered_and_that_is_said():
    bridge = run("FROM debian:12\nRUN make\n", options=output(""))
    (line,) = said(bridge)
    assert line.endswith("can't run in a step; the files of the image are in no order")
    bridge = run("FROM debian:12\nRUN make\n", options=output("exact"))
    assert bridge.error.message.startswith("LAZYBUILD_OUTPUT=exact: BuildKit does not say")


def test_a_mistaken_form_is_named():
    bridge = run("FROM debian:12\nRUN make\n", options=output("cold"))
    assert "LAZYBUILD_OUTPUT=cold is not supported" in bridge.error.message


@pytest.mark.usefixtures("own_image")
def test_where_the_network_is_not_the_hosts_the_layer_is_hot_and_the_user_told():
    bridge = run("FROM debian:12\nRUN make\n", options=output(""), **ABLE)
    (line,) = said(bridge)
    assert "do not share the network of its host" in line
    assert "compression=estargz,force-compression=true,oci-mediatypes=true" in line
    modules = [step.op.meta.args[2] for step in steps(bridge.graph(bridge.result.ref.id))]
    assert modules == ["make", "frontend.order"]


@pytest.mark.usefixtures("own_image")
def test_what_is_forced_is_done_or_fails():
    bridge = run("FROM debian:12\nRUN make\n", options=output("hot"), **ABLE)
    assert len(said(bridge)) == 1
    bridge = run("FROM debian:12\nRUN make\n", options=output("exact"), **ABLE)
    assert bridge.status == 1
    assert "do not share the network" in bridge.error.message
    assert "--network=host" in bridge.error.message


@pytest.mark.usefixtures("own_image")
def test_steps_are_watched_for_the_order():
    options = [*output("hot"), "build-arg:LAZYBUILD_TRACE=1"]
    bridge = run("FROM debian:12\nRUN make\n", options=options, **ABLE)
    made, ordering = steps(bridge.graph(bridge.result.ref.id))
    assert "/dev/.lazybuild/image" in {mount.dest for mount in made.op.mounts}
    assert "/mnt/traces/0" in {mount.dest for mount in ordering.op.mounts}


@pytest.mark.usefixtures("own_image")
def test_a_file_system_that_is_empty_has_no_form():
    bridge = run("FROM scratch\nLABEL a=b\n", options=output("exact"), **ABLE)
    assert bridge.status == 0
    assert bridge.config()["config"]["Labels"] == {"a": "b"}

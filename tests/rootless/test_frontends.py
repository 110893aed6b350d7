"""Builds by a frontend image: ours gives what the built-in compiler does, others what they like."""

import json
import subprocess
import textwrap
import time
from pathlib import Path

import pytest
from support.building import Builder
from support.frontends import push_frontends
from support.repositories import Repositories

pytestmark = pytest.mark.rootless

HOSTILE = Path(__file__).parents[2] / "testdata" / "hostile-graphs.txt"
EPOCH = ("--source-date-epoch", "1700000000")


@pytest.fixture(scope="module")
def registry(registry, tmp_path_factory):
    """`own:1`, `scripted:1` and `shell:1` are frontends."""
    folder = tmp_path_factory.mktemp("frontends")
    push_frontends(Builder(folder), registry.host)
    yield registry
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=False)


@pytest.fixture
def own(registry):
    return ("--frontend", f"{registry.host}/own:1")


@pytest.fixture
def other(folder):
    return Builder(folder / "other")


def project(base):
    return {
        "Dockerfile": f"""\
FROM {base} AS made
ARG WHO=nobody
WORKDIR /build
COPY --chmod=750 src .
RUN --mount=type=cache,target=/cache --mount=type=bind,source=src,target=/src \\
    cat /src/a.txt a.txt > both && echo $WHO > who
COPY --from=data . /data/
RUN <<EOT
echo from a heredoc > /build/heredoc
EOT

FROM scratch
COPY --link --from=made /build /made
COPY <<X /x
inline $WHO
X
COPY . /context/
LABEL a=b
ENTRYPOINT ["/made/a.txt"]
CMD ["c"]
""",
        "src/a.txt": "source\n",
        ".dockerignore": "secret\nDockerfile\n",
        "secret": "not for images\n",
        "more/data.txt": "data\n",
    }


def test_our_frontend_image_gives_the_digest_that_the_built_in_compiler_gives(
    builder, other, base, own
):
    context = builder.context(project(base))
    flags = [*EPOCH, "--build-arg", "WHO=me", "--label", "c=d", "--build-context"]
    flags += [f"data={context}/more"]
    native = builder.build(context, "-t", "x", *flags)
    bridged = other.build(context, "-t", "x", *flags, *own)
    assert bridged.digest == native.digest
    assert "[internal] run frontend" in bridged.err
    layers = [{layer["digest"] for layer in it.stats["layers"]} for it in (native, bridged)]
    assert layers[0] == layers[1], "the frontend's layers are no base"
    assert "RUN --mount=type=cache" in bridged.err
    again = other.build(context, "-t", "x", *flags, *own)
    assert again.digest == native.digest
    assert all(step["cached"] for step in again.stats["steps"] if "[made" in step["name"])


def test_the_time_of_a_repository_is_known_to_both(builder, other, own, tmp_path):
    with Repositories(tmp_path / "git") as git:
        text = "FROM scratch\nCOPY a /a\n"
        url = git.make("one", {"Dockerfile": text, "a": "a"}, when=1_500_000_000)
        flags = ("--build-arg", "SOURCE_DATE_EPOCH=context", "-t", "x")
        native = builder.build(url, *flags)
        assert other.build(url, *flags, *own).digest == native.digest
    config = builder.run("inspect", "--json", "x").out
    assert json.loads(config)["config"]["created"] == "2017-07-14T02:40:00Z"


def test_questions_are_the_frontends_to_answer(builder, other, own):
    context = builder.context({"Dockerfile": "FROM scratch as a\nARG X=1 \nCOPY . /\n"})
    flags = ("--call", "outline,format=json", context)
    assert other.run("build", *own, *flags).out == builder.run("build", *flags).out
    found = other.run("build", *own, "--check", context, expect=1).out
    assert found in builder.run("build", "--check", context, expect=1).out


# --- a frontend that does what it is told --------------------------------------------------------


@pytest.fixture
def told(builder, registry):
    """Build with a frontend that does what CODE says, over a context with a file."""

    def run(name, code, *flags, expect=0):
        line = f"# syntax={registry.host}/{name}:1\nnot a Dockerfile\n"
        files = {"Dockerfile": line, "a.txt": "of the context\n"}
        return builder.build(files, "-t", "x", "--build-arg", f"CODE={code}", *flags, expect=expect)

    return run


@pytest.fixture
def scripted(told):
    def run(code, *flags, expect=0):
        return told("scripted", SETUP + textwrap.dedent(code), *flags, expect=expect)

    return run


SETUP = """
import os, sys, threading, time
from dataclasses import replace
from lazybuild.llb.graph import Edge, Vertex, VertexOptions
from lazybuild.llb.ops import *
from lazybuild.wire.encode import encode
from lazybuild.wire.faults import RemoteError

def local(name):
    return Edge(Vertex(op=SourceOp(identifier=f"local://{name}")))

def solve(head):
    return gateway.solve(encode(head))

def image(name):
    here = gateway.ping().workers[0].platforms[0]
    found = gateway.resolve_image(name, here, Lookup())
    return Edge(Vertex(op=SourceOp(identifier=f"docker-image://{found.reference}")))

def run(base, *args):
    root = Mount(dest="/", input=0, output=0)
    op = ExecOp(meta=Meta(args=args, env=("PATH=/bin",)), mounts=(root,))
    return Edge(Vertex(op=op, inputs=(base,), options=VertexOptions(name=" ".join(args))))
"""


def test_a_frontend_builds_what_no_dockerfile_says(scripted, builder, base):
    made = scripted(
        f"""
        step = run(image({base!r}), 'sh', '-c', 'head -c 9 /dev/urandom > /made')
        ref = solve(Edge(replace(step.vertex, options=VertexOptions(ignore_cache=True))))
        seen = gateway.read_file(ref, 'made')
        assert gateway.read_file(solve(local('context')), 'a.txt') == b'of the context\\n'
        own = solve(local('dockerfile'))
        assert gateway.read_file(own, 'Dockerfile').startswith(b'# syntax=')
        assert gateway.names(own, '/') == ('Dockerfile',)
        print('for people', sorted(os.environ), file=sys.stderr)
        print('seen', seen.hex(), file=sys.stderr)
        gateway.give(Outcome(refs={{'': ref}}))
        """,
        "-o",
        f"type=local,dest={builder.folder}/out",
    )
    assert f"seen {(builder.folder / 'out/made').read_bytes().hex()}" in made.err
    assert "for people" in made.err
    assert "LAZYBUILD_ROOT" not in made.err


def test_ops_with_several_results(scripted, builder, base):
    """A mount that is one, a root that is none, a file operation that has two; and from cache."""
    code = f"""
        base = image({base!r})
        mounts = (
            Mount(dest='/', input=0, readonly=True),
            Mount(dest='/a', output=0),
            Mount(dest='/b', input=1, output=1),
        )
        files = FileOp(actions=(
            FileAction(action=MkFileAction(path='/one', mode=0o644, data=b'1'), output=0),
            FileAction(action=MkFileAction(path='/two', mode=0o644, data=b'2'), output=1),
        ))
        two = Edge(Vertex(op=files), 1)
        text = 'cat /b/two > /a/first; echo second > /b/second'
        op = ExecOp(meta=Meta(args=('sh', '-c', text), env=('PATH=/bin',)), mounts=mounts)
        step = Vertex(op=op, inputs=(base, two), options=VertexOptions(name='the step'))
        assert gateway.names(solve(Edge(step)), '/') == ('first',)
        both = FileOp(actions=(FileAction(
            action=CopyAction(src='/', dest='/', dir_copy_contents=True),
            input=0, secondary_input=1, output=0),))
        top = Vertex(op=both, inputs=(Edge(step), Edge(step, 1)))
        gateway.give(Outcome(refs={{'': solve(Edge(top))}}))
        """
    output = ("-o", f"type=local,dest={builder.folder}/out")
    made = scripted(code, *output)
    found = {path.name: path.read_text() for path in (builder.folder / "out").iterdir()}
    assert found == {"first": "2", "second": "second\n", "two": "2"}
    again = scripted(code, *output)
    assert again.digest == made.digest
    assert again.step("the step")["cached"]


def test_a_directory_of_the_context_can_be_the_image(scripted, builder):
    scripted(
        "gateway.give(Outcome(refs={'': solve(local('context'))}))",
        "-o",
        f"type=local,dest={builder.folder}/out",
    )
    assert (builder.folder / "out/a.txt").read_text() == "of the context\n"


CALLS = """
from lazybuild.wire.buildkit_frontend_protos import gateway_pb2 as pb

def call(frontend, told, **inputs):
    request = pb.SolveRequest(
        Frontend=frontend, FrontendOpt=told, allowResultReturn=True, allowResultArrayRef=True,
        FrontendInputs={name: encode(head).definition for name, head in inputs.items()})
    return gateway._caller.call("Solve", request, pb.SolveResponse).result

def file(text):
    action = MkFileAction(path='/Dockerfile', mode=0o644, data=text.encode())
    return Edge(Vertex(op=FileOp(actions=(FileAction(action=action, output=0),))))

def give(made):
    gateway.give(Outcome(refs={"": made.ref.id}, metadata=dict(made.metadata)))

told = {name: text for name, text in options.values.items() if "CODE" not in name}
"""


@pytest.fixture
def calling(told):
    """As `scripted`, where frontends call others."""
    return lambda code, *flags, **options: told("scripted", SETUP + CALLS + code, *flags, **options)


def test_a_frontend_may_leave_the_work_to_another(calling, builder, other, registry, base):
    """What it makes of the file is compiled here, or by the image that it names."""
    text = f"FROM {base}\nARG WHO\nCOPY . /c\nRUN echo $WHO > /who\nCMD x\n"
    flags = (*EPOCH, "--build-arg", "WHO=me")
    made = calling(f"give(call('dockerfile.v0', told, dockerfile=file({text!r})))", *flags)
    image = f"told['source'] = '{registry.host}/own:1'\n"
    code = f"{image}give(call('gateway.v0', told, dockerfile=file({text!r})))"
    assert calling(code, *flags).digest == made.digest
    lines = other.context({"Dockerfile": text}) / "Dockerfile"
    native = other.build(builder.folder / "context-0", *flags, "-t", "x", "-f", lines)
    assert native.digest == made.digest


def test_frontends_that_call_one_another_come_to_an_end(calling, registry):
    again = f"options.values | {{'source': '{registry.host}/scripted:1'}}"
    made = calling(f"call('gateway.v0', {again})", expect=1)
    assert "frontends call one another more than 4 times deep" in made.err


def test_a_called_frontend_reaches_no_more_than_its_caller(calling):
    """Nor does the compiler, whose file and options are the caller's."""
    calling("""
def refused(words, text, name='dockerfile.v0', **more):
    try:
        call(name, told | more, dockerfile=file(text))
    except RemoteError as error:
        assert words in error.message, error.message
    else:
        raise AssertionError(text)

refused("'home', which it was not given", 'FROM x', **{'context:x': 'local:home'})
refused("'home', which it was not given", 'FROM scratch', dockerfilekey='home')
refused('unsupported build context', 'FROM scratch', context='local:home')
refused('no such file', 'FROM scratch', filename='../../etc/passwd')
refused('oci-archive:/etc/passwd', 'FROM oci-archive:/etc/passwd')
refused('network.host', 'FROM scratch\\nRUN --network=host x')
refused('not in lazybuild', '', name='other.v0')
refused('needs the option source', '', name='gateway.v0', source='')
refused('is not a number', 'FROM scratch', **{'shm-size': '-1'})
refused('unknown instruction', 'FRM scratch')
gateway.give(Outcome(refs={'': ''}))
""")


STATES = """
from lazybuild.wire.gateway import Statement
data = {text!r}
write = FileAction(action=MkFileAction(path='/s.json', mode=0o644, data=data), output=0)
ref = solve(Edge(Vertex(op=FileOp(actions=(write,)))))
said = Statement(type='https://a.test/b', ref=ref, path='/s.json')
image = solve(local('context'))
gateway.give(Outcome(refs={{'': image}}, statements={{'linux/amd64': (said,)}}))
"""


def test_what_a_frontend_states_stands_beside_the_image(scripted, builder):
    archive = builder.folder / "image"
    output = ("-o", f"type=oci,dest={archive},tar=false", "--sbom")
    scripted(STATES.format(text=b'{"a": 1}'), *output)
    blobs = [path.read_bytes() for path in (archive / "blobs/sha256").iterdir()]
    found = [json.loads(data) for data in blobs if data.startswith(b'{\n  "_type"')]
    stated = {one["predicateType"]: one["predicate"] for one in found}
    assert stated.pop("https://a.test/b") == {"a": 1}
    assert list(stated) == ["https://spdx.dev/Document"]
    for text in (b"[1]", b"no JSON", b"[" * 100_000):
        made = scripted(STATES.format(text=text), *output, expect=1)
        assert "what the frontend states in /s.json is no JSON" in made.err


def test_graphs_of_nobody_honest_are_refused_with_their_reasons(scripted, base):
    made = scripted(f"base = image({base!r})\n{HOSTILE.read_text()}")
    assert "Traceback" not in made.err


def test_a_step_that_fails_is_the_failure_of_the_build_unless_the_frontend_goes_on(scripted, base):
    made = scripted(
        f"""
        base = image({base!r})
        try:
            gateway.names(solve(run(base, 'sh', '-c', 'exit 6')), '/')
        except RemoteError:
            gateway.names(solve(run(base, 'true')), '/')
        try:
            gateway.names(solve(run(base, 'sh', '-c', 'exit 7')), '/')
        except RemoteError as error:
            gateway.fail(error.status)
        """,
        expect=1,
    )
    assert 'ERROR: process "sh -c exit 7" did not complete successfully: exit code: 7' in made.err


def test_steps_of_a_frontend_that_is_gone_are_ended(scripted, base):
    begun = time.monotonic()
    made = scripted(
        f"""
        ref = solve(run(image({base!r}), 'sleep', '100'))
        threading.Thread(target=lambda: gateway.names(ref, '/'), daemon=True).start()
        time.sleep(1)
        os._exit(5)
        """,
        expect=1,
    )
    assert "failed: exit code: 5" in made.err
    assert time.monotonic() - begun < 100


def test_what_a_frontend_was_last_told_may_explain_its_end(scripted):
    made = scripted("gateway.read_file(solve(local('home')), 'x')", expect=1)
    assert "last thing it was told is: a frontend asks for the directory 'home'" in made.err


FAULTS = {
    "dies": ("exit 3", "failed: exit code: 3"),
    "never speaks": ("true", "ended without a result"),
    "is killed": ("kill -9 $$", "killed"),
    "sends rubbish": ("while :; do echo rubbish; done", "failed"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_frontend_that_does_not_do_its_part_is_one_clear_error(told, fault):
    code, text = FAULTS[fault]
    made = told("shell", code, expect=1)
    (error,) = [line for line in made.err.splitlines() if line.startswith("ERROR: ")]
    assert text in error
    assert "/shell:1" in error
    assert "Traceback" not in made.err


def test_targets_by_frontends_are_built_in_one_solve(builder, registry, base):
    """Each knows its directory as `context`; the graphs must not take one for the other."""
    syntax = (
        f"# syntax={registry.host}/own:1\nFROM {base}\nCOPY file /file\nRUN cat /file > /made\n"
    )
    files = {}
    for name in ("one", "two"):
        files |= {f"{name}/Dockerfile": syntax, f"{name}/file": name}
    home = builder.context(files)
    targets = {n: {"context": str(home / n), "tags": [f"baked/{n}:1"]} for n in ("one", "two")}
    (home / "docker-bake.json").write_text(json.dumps({"target": targets}))
    run = builder.run("bake", "-f", home / "docker-bake.json")
    assert "[two internal] run frontend" in run.err
    for name in ("one", "two"):
        assert builder.run("run", f"baked/{name}:1", "cat", "/made").out == name
    (home / "two/Dockerfile").write_text(syntax.replace("cat /file", "cat /nowhere"))
    run = builder.run("bake", "-f", home / "docker-bake.json", expect=1)
    assert "ERROR: target two: " in run.err
    assert "two/Dockerfile:4" in run.err

"""Our frontend inside a real BuildKit against the one that is built into it: the same images."""

import hashlib
import io
import json
import re
import tarfile

import pytest

pytestmark = pytest.mark.root

STAGES = """\
FROM {base} AS base
ARG V=1
ENV A=$V B="x y"
WORKDIR /app
COPY --chown=1:2 --chmod=640 . /app/
RUN --mount=type=cache,target=/c --mount=type=bind,target=/b,source=d echo $V > v; ls /b > /b.txt
SHELL ["/bin/sh", "-ec"]
RUN <<EOT
echo a
echo b > /bb
EOT
FROM scratch AS final
LABEL a=b
COPY --link --from=base /app /app
COPY --from=base /bb /b.txt /
ADD t.tar.gz /t/
COPY <<X <<"Y" /etc/
x
X
y $V
Y
VOLUME /v
USER 5:6
STOPSIGNAL 9
ENTRYPOINT ["/e"]
CMD c d
"""
ONE = "FROM {base}\nRUN echo one > /one && rm -f /bin/perl && ln -s one /two\n"
EMPTY = "FROM scratch\nLABEL only=config\n"
TARGET = "FROM {base} AS a\nRUN echo a > /a\nFROM a AS b\nRUN exit 1\n"
IGNORED = "FROM scratch\nCOPY . /x/\n"
CASES = {
    "stages": (STAGES, ["--build-arg", "V=2", "--label", "l=m"]),
    "one": (ONE, []),
    "empty": (EMPTY, []),
    "target": (TARGET, ["--target", "a"]),
    "ignored": (IGNORED, []),
    "platforms": (IGNORED, ["--platform", "linux/amd64,linux/arm64"]),
}


@pytest.fixture
def context(moby, request):
    folder = moby.shared / re.sub(r"\W", "-", request.node.name)
    (folder / "d").mkdir(parents=True)
    (folder / "d" / "1").write_text("1")
    (folder / "secret.log").write_text("no")
    (folder / ".dockerignore").write_text("*.log\n*.tar\n")
    with tarfile.open(folder / "t.tar.gz", "w:gz") as archive:
        archive.add(folder / "d", "d")
    return folder


def built(moby, context, *flags):
    """The whole result as an OCI layout: what is in it, by names that digests don't hide."""
    target = moby.shared / f"{context.name}.tar"
    moby.build(context, "--output", f"type=oci,dest={moby.there(target)}", *flags)
    with tarfile.open(target) as archive:
        read = {name: archive.extractfile(name).read() for name in _files(archive)}
    index = json.loads(read["index.json"])
    return sorted(_image(read, entry) for entry in _manifests(read, index))


def _files(archive):
    return [member.name for member in archive.getmembers() if member.isfile()]


def _blob(read, descriptor):
    return read["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]


def _manifests(read, index):
    for entry in index["manifests"]:
        inner = json.loads(_blob(read, entry))
        yield from _manifests(read, inner) if "manifests" in inner else [inner]


def _image(read, manifest):
    """The files of each layer, and the config without times and the words of its history."""
    config = json.loads(_blob(read, manifest["config"]))
    config.pop("created", None)
    for line in config.get("history", []):
        line.pop("created", None)
        line.pop("created_by", None)
    config["rootfs"]["diff_ids"] = len(config["rootfs"]["diff_ids"] or ())
    layers = [_layer(_blob(read, layer)) for layer in manifest["layers"] or ()]
    return json.dumps([config, layers], sort_keys=True, indent=1)


def _layer(blob):
    """Everything of a layer but its times."""
    with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
        return [_member(archive, member) for member in archive]


def _member(archive, member):
    data = archive.extractfile(member).read() if member.isfile() else b""
    kind, link = member.type.decode(), member.linkname
    content = hashlib.sha256(data).hexdigest()
    return [member.name, kind, member.mode, member.uid, member.gid, link, content]


@pytest.mark.parametrize("case", CASES)
def test_the_same_image_as_the_built_in_frontend(moby, base, frontend, context, case):
    text, flags = CASES[case]
    (context / "Dockerfile").write_text(text.format(base=base))
    want = built(moby, context, *flags)
    syntax = ("--build-arg", f"BUILDKIT_SYNTAX={frontend}")
    ours = built(moby, context, *flags, *syntax, "--build-arg", "LAZYBUILD_OUTPUT=plain")
    assert ours == want


def test_a_step_that_fails_is_shown_with_its_lines(moby, base, frontend, context):
    text = f"# syntax={frontend}\nFROM {base}\nRUN echo hello && \\\n    exit 3\n"
    (context / "Dockerfile").write_text(text)
    done = moby.build(context, check=False)
    assert done.returncode
    assert "   3 | >>> RUN echo hello" in done.stderr
    assert "   4 | >>>     exit 3" in done.stderr
    assert "exit code: 3" in done.stderr


def test_a_mistake_is_shown_with_its_line(moby, frontend, context):
    (context / "Dockerfile").write_text(f"# syntax={frontend}\nFROM scratch\nCOPPY a b\n")
    done = moby.build(context, check=False)
    assert "   3 | >>> COPPY a b" in done.stderr
    assert "did you mean COPY?" in done.stderr


def test_warnings_are_shown(moby, frontend, context):
    (context / "Dockerfile").write_text(f"# syntax={frontend}\nFROM scratch AS Big\nCMD x\n")
    done = moby.build(context)
    assert "StageNameCasing: Stage name 'Big' should be lowercase (line 2)" in done.stderr


@pytest.mark.parametrize(("name", "text"), [("outline", "TARGET:"), ("targets", "big (default)")])
def test_questions_are_answered(moby, frontend, context, name, text):
    (context / "Dockerfile").write_text(f"# syntax={frontend}\nFROM scratch AS big\nLABEL a=b\n")
    words = ("env", "BUILDX_EXPERIMENTAL=1", "docker", "buildx", "build", f"--print={name}")
    assert text in moby.run(*words, moby.there(context)).stdout


def test_the_graph_is_shown(moby, frontend, context):
    """This client knows no view of it, and shows the whole answer on its standard error."""
    (context / "Dockerfile").write_text(f"# syntax={frontend}\nFROM scratch\nCOPY d /e\n")
    words = ("env", "BUILDX_EXPERIMENTAL=1", "docker", "buildx", "build", "--print=convertllb")
    done = moby.run(*words, moby.there(context), check=False)
    assert '"llb.customname": "[1/1] COPY d /e"' in done.stdout + done.stderr


def test_the_ordered_layer(moby, base, frontend, context):
    """What is read first stands before the landmark, in an eStargz layer; the image is the same."""
    text = f"# syntax={frontend}\nFROM {base}\nRUN echo 1 > /warm && echo 2 > /cold\n"
    (context / "Dockerfile").write_text(text)
    target = moby.shared / "hot.tar"
    attrs = "compression=estargz,force-compression=true,oci-mediatypes=true"
    output = f"type=oci,dest={moby.there(target)},{attrs}"
    arguments = ("LAZYBUILD_OUTPUT=hot", "LAZYBUILD_PREFETCH=warm")
    flags = [word for each in arguments for word in ("--build-arg", each)]
    done = moby.build(context, "--output", output, *flags)
    assert "compression=estargz" in done.stderr
    with tarfile.open(target) as archive:
        read = {name: archive.extractfile(name).read() for name in _files(archive)}
    (manifest,) = _manifests(read, json.loads(read["index.json"]))
    *_, first, marks = (_names(_blob(read, layer)) for layer in manifest["layers"])
    assert first == [".lazybuild-first", ".lazybuild-first/00001", ".prefetch.landmark", "warm"]
    assert marks == [".wh..lazybuild-first", ".wh..prefetch.landmark"]
    assert "containerd.io/snapshot/stargz/toc.digest" in manifest["layers"][-2]["annotations"]


def _names(blob):
    with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
        return [member.name for member in archive if member.name != "stargz.index.json"]

"""The exact image: BuildKit hands out the layers that our writer wrote, and nothing has to be set.

In dockerd's BuildKit, where the user has to give steps the host's network, and in a buildkitd of
its own, where that is so by default; what is built must be the same in both.
"""

import io
import json
import subprocess
import tarfile

import pytest
from test_buildkit_differential import image as whole
from test_buildkit_frontend import _blob, _manifests

from lazybuild.estargz.reader import open_toc

pytestmark = pytest.mark.root

TEXT = """\
# syntax={frontend}
FROM {base}
RUN echo 1 > /cold && echo 2 > /warm && mkdir /dir && echo 3 > /dir/used
RUN rm /bin/perl && ln /warm /again && cat /dir/used
COPY --link --chown=1:2 . /x/
USER alice
RUN cat /dir/used
ENTRYPOINT ["/bin/cat", "/warm"]
"""
EPOCH = ("--build-arg", "SOURCE_DATE_EPOCH=1700000000")
HOST = ("--network", "host")
TOC = "containerd.io/snapshot/stargz/toc.digest"


@pytest.fixture
def context(moby, base, frontend, request):
    folder = moby.shared / f"exact-{request.node.name}"
    folder.mkdir()
    (folder / "file").write_text("file")
    (folder / "Dockerfile").write_text(TEXT.format(frontend=frontend, base=base))
    return folder


def exported(moby, context, *flags, kind="oci"):
    """What the client says, and the blobs of the image."""
    target = moby.shared / f"{context.name}.{kind}"
    done = moby.build(context, *EPOCH, *flags, "--output", f"type={kind},dest={moby.there(target)}")
    with tarfile.open(target) as archive:
        members = [each for each in archive if each.isreg() or each.islnk()]
        return done.stderr, {each.name: archive.extractfile(each).read() for each in members}


def image(read):
    """The manifest of the one image, its digest, its config."""
    index = json.loads(read["index.json"])
    (manifest,) = _manifests(read, index)
    return manifest, index["manifests"][0]["digest"], json.loads(_blob(read, manifest["config"]))


def names(read, layer):
    with tarfile.open(fileobj=io.BytesIO(_blob(read, layer))) as archive:
        return [member.name for member in archive if member.name != "stargz.index.json"]


class Bytes:
    def __init__(self, data):
        self.data = data
        self.size = len(data)

    def read_at(self, offset, length):
        return self.data[offset : offset + length]


def check_layers(read, manifest):
    """Each layer over the base is eStargz of ours, in our order, verified by its annotation."""
    base, *layers = manifest["layers"]
    assert TOC not in base.get("annotations", {})
    for layer in layers:
        found = open_toc(Bytes(_blob(read, layer)), layer["annotations"])
        assert found.verify(layer["annotations"][TOC]).entries
    first, second, third, last = (names(read, layer) for layer in layers)
    assert first.index("warm") < first.index(".prefetch.landmark") < first.index("cold")
    assert {"bin/.wh.perl", "again", "warm", ".no.prefetch.landmark"} <= set(second)
    assert {"x", "x/file"} <= set(third)
    assert last[0] == ".no.prefetch.landmark"
    return first


def test_dockerd_with_the_hosts_network(moby, context):
    said, read = exported(moby, context, *HOST)
    manifest, digest, config = image(read)
    assert "LAZYBUILD" not in said
    assert "compression=" not in said
    first = check_layers(read, manifest)
    assert first.index(".prefetch.landmark") < first.index("dir/used")
    assert len(config["rootfs"]["diff_ids"]) == 5
    assert config["config"]["Entrypoint"] == ["/bin/cat", "/warm"]
    lines = [line["created_by"] for line in config["history"] if not line.get("empty_layer")]
    assert len(lines) == 5
    again = exported(moby, context, *HOST, "--no-cache")[1]
    assert image(again)[1] == digest
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "frontend.loopback" not in running.stdout


def test_what_steps_open_comes_first_too(moby, context):
    _, read = exported(moby, context, *HOST, "--build-arg", "LAZYBUILD_TRACE=1")
    first = check_layers(read, image(read)[0])
    assert first.index("dir/used") < first.index(".prefetch.landmark")
    assert not [name for name in first if "lazybuild" in name]


def test_the_files_are_those_of_a_plain_build(moby, context):
    """In BuildKit's own view, deletions among them, and in the layers; config and history too.

    Not compared is that /warm and /again are one file: BuildKit's own layers forget it.
    """
    plain = ("--build-arg", "LAZYBUILD_OUTPUT=plain")
    want = exported(moby, context, *HOST, *plain, kind="tar")[1]
    ours = exported(moby, context, *HOST, kind="tar")[1]
    marks = {".prefetch.landmark", ".no.prefetch.landmark", "stargz.index.json"}
    assert {name: data for name, data in ours.items() if name not in marks} == want
    found = []
    for flags in (plain, ()):
        exported(moby, context, *HOST, *flags)
        (files, _), *about = whole(moby.shared / f"{context.name}.oci")
        found.append([files, *about])
    assert found[0] == found[1]


def test_dockerd_with_its_own_network(moby, context):
    """No way to hand layers over: the ordered layer, and a warning that says what to do."""
    said, read = exported(moby, context)
    assert "do not share the network of its host" in said
    assert "compression=estargz,force-compression=true,oci-mediatypes=true" in said
    assert len(image(read)[0]["layers"]) == 7
    flags = ("--build-arg", "LAZYBUILD_OUTPUT=exact", "-o", "type=cacheonly")
    done = moby.build(context, *flags, check=False)
    assert done.returncode
    assert "LAZYBUILD_OUTPUT=exact: steps of this BuildKit do not share" in done.stderr


def test_a_buildkitd_without_a_flag(moby, context, buildkitd):
    """The same bytes as dockerd's."""
    flags = ("--network", "default", "--builder", buildkitd.name)
    said, read = exported(moby, context, *flags)
    manifest, digest, _ = image(read)
    assert "compression=" not in said
    check_layers(read, manifest)
    assert image(exported(moby, context, *flags, "--no-cache")[1])[1] == digest
    assert image(exported(moby, context, *HOST)[1])[1] == digest

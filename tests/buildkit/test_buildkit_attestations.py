"""What is stated of an image that a BuildKit builds: by it, where it comes from; by us, what is in
it, read where it lies.
"""

import json
import subprocess
import tarfile

import pytest
from support.building import Builder
from support.moby import Moby

from lazybuild.oci import codec

pytestmark = pytest.mark.root

STATUS = "Package: demo\nStatus: install ok installed\nVersion: 1.0\nArchitecture: all\n"
SPDX = "https://spdx.dev/Document"


@pytest.fixture(params=["moby", "buildkitd"])
def daemon(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def build(tmp_path):
    def run(daemon, context, *words):
        kind = "docker" if isinstance(daemon, Moby) else "unix"
        Builder(tmp_path).run("build", "--builder", f"{kind}://{daemon.socket}", *words, context)

    return run


@pytest.fixture
def context(tmp_path, base):
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "status").write_text(STATUS)
    text = f"FROM {base}\nCOPY status /usr/lib/x\nRUN echo 1\nCOPY status /var/lib/dpkg/status\n"
    (folder / "Dockerfile").write_text(text)
    return folder


class Archive:
    """An OCI archive."""

    def __init__(self, path):
        with tarfile.open(path) as tar:
            files = [member for member in tar if member.isfile()]
            self._blobs = {it.name.rpartition("/")[2]: tar.extractfile(it).read() for it in files}
        (self.top,) = codec.parse_index(self._blobs["index.json"]).manifests
        self.listed = codec.parse_index(self.blob(self.top)).manifests

    def blob(self, descriptor):
        return self._blobs[descriptor.digest.removeprefix("sha256:")]

    def statements(self, image):
        """What is stated of an image, by the kind of it."""
        named = [
            it
            for it in self.listed
            if (it.annotations or {}).get("vnd.docker.reference.digest") == image.digest
        ]
        (attached,) = named
        layers = codec.parse_manifest(self.blob(attached)).layers
        found = [json.loads(self.blob(layer)) for layer in layers]
        subjects = {subject["digest"]["sha256"] for it in found for subject in it["subject"]}
        assert subjects == {image.digest.removeprefix("sha256:")}
        return {it["predicateType"]: it["predicate"] for it in found}


FLAGS = ("--sbom", "--provenance=mode=max", "--network", "none")


def check(stated, base):
    sbom = stated.pop(SPDX)
    assert [package["name"] for package in sbom["packages"]][1:] == ["demo"]
    ((kind, provenance),) = stated.items()
    assert kind.startswith("https://slsa.dev/provenance/")
    assert base.partition("/")[2].partition(":")[0] in json.dumps(provenance)


def test_statements_stand_beside_the_image(daemon, build, context, registry, base):
    archive, metadata = context.parent / "image.tar", context.parent / "metadata.json"
    words = ("-o", f"type=oci,dest={archive}", "--metadata-file", metadata)
    build(daemon, context, *FLAGS, *words, "-t", "stated:1")
    found = Archive(archive)
    assert json.loads(metadata.read_text())["containerimage.digest"] == found.top.digest
    check(found.statements(found.listed[0]), base)
    build(daemon, context, *FLAGS, "-t", f"{registry.host}/stated:1", "--push")
    pushed = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{registry.host}/stated:1"],
        capture_output=True,
        check=True,
    )
    image, attached = codec.parse_index(pushed.stdout).manifests
    assert image.digest == found.listed[0].digest
    assert attached.annotations["vnd.docker.reference.digest"] == image.digest


def test_they_are_said_of_the_image_that_goes_out(build, moby, context, tmp_path, base):
    archive = tmp_path / "image.tar"
    output = f"type=oci,dest={archive},prefetch=true"
    build(moby, context, *FLAGS, "--build-arg", "LAZYBUILD_PREFETCH=usr/lib/x", "-o", output)
    found = Archive(archive)
    image, _ = found.listed
    check(found.statements(image), base)
    own = codec.parse_manifest(found.blob(image)).layers[-1]
    assert "containerd.io/snapshot/stargz/toc.digest" in own.annotations


def test_each_platform_has_its_own(build, moby, context, tmp_path):
    archive = tmp_path / "image.tar"
    text = "FROM scratch\nARG TARGETARCH\nCOPY status-$TARGETARCH /var/lib/dpkg/status\n"
    (context / "Dockerfile").write_text(text)
    for name in ("amd64", "arm64"):
        (context / f"status-{name}").write_text(STATUS.replace("demo", name))
    output = ("--platform", "linux/amd64,linux/arm64", "-o", f"type=oci,dest={archive}")
    build(moby, context, *FLAGS, *output, "-t", "stated:1")
    found = Archive(archive)
    for image in found.listed[:2]:
        (_, package) = found.statements(image)[SPDX]["packages"]
        assert package["name"] == image.platform["architecture"]


def test_files_come_with_theirs(build, moby, context, tmp_path):
    build(moby, context, *FLAGS, "-o", f"type=local,dest={tmp_path}/out")
    assert json.loads((tmp_path / "out" / "sbom.spdx.json").read_text())["predicateType"] == SPDX
    assert (tmp_path / "out" / "provenance.json").exists()

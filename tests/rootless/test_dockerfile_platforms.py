"""Several platforms in one build: an index, and who can't run what."""

import json
import tarfile

import pytest
from support.registry import LocalRegistry

pytestmark = pytest.mark.rootless

TEXT = "FROM scratch\nARG TARGETARCH\nCOPY a /a-$TARGETARCH\n"
PLATFORMS = ("--platform", "linux/amd64,linux/arm64")


def test_an_index_of_one_image_for_each(builder):
    with LocalRegistry() as registry:
        name = f"{registry.host}/many:1"
        iid = ("--iidfile", builder.folder / "iid")
        run = builder.build({"Dockerfile": TEXT, "a": "a"}, "-t", name, "--push", *PLATFORMS, *iid)
        shown = json.loads(builder.run("inspect", name, "--raw").out)
    listed = {item["platform"]["architecture"]: item["digest"] for item in shown["manifests"]}
    assert set(listed) == {"amd64", "arm64"}
    assert listed["amd64"] != listed["arm64"]
    assert run.metadata["containerimage.descriptor"]["mediaType"].endswith("index.v1+json")
    assert iid[1].read_text() == run.digest
    assert "containerimage.config.digest" not in run.metadata


def test_a_command_for_another_machine_is_refused_by_name(builder):
    files = {"Dockerfile": 'FROM scratch\nCOPY a /a\nRUN ["/a"]\n', "a": "a"}
    run = builder.build(files, "--platform", "linux/s390x", expect=125)
    assert "linux/s390x" in run.err
    assert "manifest create" in run.err


@pytest.mark.parametrize("kind", ["docker", "load"])
def test_an_output_that_holds_one_image_is_refused_before_the_build(builder, kind):
    files = {"Dockerfile": TEXT, "a": "a"}
    flags = ("-o", f"type=docker,dest={builder.folder}/x") if kind == "docker" else ("--load",)
    run = builder.build(files, *PLATFORMS, *flags, expect=2)
    assert f"type={kind} holds an image for one platform" in run.err
    assert "COPY" not in run.err


def test_an_image_layout_holds_them_all_with_what_is_stated_of_each(builder):
    archive, place = builder.folder / "many.tar", builder.folder / "many"
    outputs = ("-o", f"type=oci,dest={archive}", "-o", f"type=oci,tar=false,dest={place}")
    flags = ("-t", "many:1", "--provenance=mode=max", "--sbom=true", *PLATFORMS, *outputs)
    run = builder.build({"Dockerfile": TEXT, "a": "a"}, *flags)
    with tarfile.open(archive) as tar:
        names = {name for name in tar.getnames() if name.startswith("blobs/sha256/")}
        (top,) = json.load(tar.extractfile("index.json"))["manifests"]

        def read(descriptor):
            return json.load(tar.extractfile(f"blobs/sha256/{descriptor['digest'][7:]}"))

        index = read(top)
        images, statements = index["manifests"][:2], index["manifests"][2:]
        for image, architecture in zip(images, ("amd64", "arm64"), strict=True):
            assert image["platform"]["architecture"] == architecture
            manifest = read(image)
            assert read(manifest["config"])["architecture"] == architecture
            assert all(f"blobs/sha256/{it['digest'][7:]}" in names for it in manifest["layers"])
        for statement, image in zip(statements, images, strict=True):
            notes = statement["annotations"]
            assert notes["vnd.docker.reference.digest"] == image["digest"]
            kinds = [
                it["annotations"]["in-toto.io/predicate-type"] for it in read(statement)["layers"]
            ]
            assert kinds == ["https://spdx.dev/Document", "https://slsa.dev/provenance/v1"]
            subject = read(read(statement)["layers"][1])["subject"][0]
            assert subject["digest"]["sha256"] == image["digest"][7:]
            assert subject["name"].endswith(image["platform"]["architecture"])
    assert top["digest"] == run.digest
    written = {f"blobs/sha256/{path.name}" for path in (place / "blobs/sha256").iterdir()}
    assert written == names
    shown = json.loads(builder.run("inspect", "--json", f"oci-archive:{archive}").out)
    assert shown["config"]["architecture"] == "amd64"


def test_statements_of_each_platform_are_pushed_beside_it(builder):
    with LocalRegistry() as registry:
        name = f"{registry.host}/many:1"
        flags = ("-t", name, "--push", "--provenance=true", *PLATFORMS)
        run = builder.build({"Dockerfile": TEXT, "a": "a"}, *flags)
        shown = json.loads(builder.run("inspect", name, "--raw").out)
        assert registry.content.manifest("many", "1")[0] == run.digest
        for item in shown["manifests"]:
            assert registry.content.manifest("many", item["digest"])
    assert [it["platform"]["architecture"] for it in shown["manifests"]] == [
        "amd64", "arm64", "unknown", "unknown",
    ]  # fmt: skip


def test_files_of_several_platforms_lie_in_a_directory_for_each(builder):
    place, archive = builder.folder / "out", builder.folder / "out.tar"
    flags = ("-o", f"type=local,dest={place}", "-o", f"type=tar,dest={archive}")
    builder.build({"Dockerfile": TEXT, "a": "a"}, *PLATFORMS, *flags)
    expected = ["linux_amd64", "linux_amd64/a-amd64", "linux_arm64", "linux_arm64/a-arm64"]
    assert sorted(str(path.relative_to(place)) for path in place.rglob("*")) == expected
    with tarfile.open(archive) as tar:
        assert sorted(tar.getnames()) == expected

"""What is stated of an image goes with it, and holds no secret."""

import json
import subprocess

import pytest

from lazybuild.oci import codec

pytestmark = pytest.mark.rootless


STATUS = "Package: demo\nStatus: install ok installed\nVersion: 1.0\nArchitecture: all\n"


def files(registry):
    return {
        "Dockerfile": f"""\
FROM {registry.host}/base:1
ARG TOKEN
COPY status /var/lib/dpkg/status
RUN --mount=type=secret,id=key cat /run/secrets/key > /dev/null
""",
        "status": STATUS,
        "key": "hunter2",
    }


def test_statements_stand_in_an_index_beside_the_image(registry, builder, tmp_path):
    context = builder.context(files(registry))
    flags = ("--sbom", "--provenance=mode=max", "--build-arg", "TOKEN=hunter3")
    name = f"{registry.host}/stated:1"
    run = builder.build(
        context, "-t", name, "--push", *flags, "--secret", f"id=key,src={context}/key",
        "-o", f"type=oci,dest={tmp_path}/out.tar", "-o", f"type=docker,dest={tmp_path}/docker.tar",
    )  # fmt: skip
    index = codec.parse_index(registry.content.manifest("stated", "1")[1])
    assert registry.content.manifest("stated", "1")[0] == run.digest
    image, attached = index.manifests
    assert image.platform["os"] == "linux"
    assert attached.platform == {"architecture": "unknown", "os": "unknown"}
    assert attached.annotations == {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image.digest,
    }
    statements = stated(registry, attached.digest)
    assert all(s["subject"][0]["digest"]["sha256"] == image.digest[7:] for s in statements)
    sbom, provenance = statements
    assert [p["name"] for p in sbom["predicate"]["packages"]][1:] == ["demo"]
    definition = provenance["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["buildArguments"] == ["TOKEN"]
    assert definition["externalParameters"]["secrets"] == ["key"]
    base = registry.content.manifest("base", "1")[0]
    assert definition["resolvedDependencies"][0]["digest"] == {"sha256": base[7:]}
    text = json.dumps(statements)
    assert "hunter2" not in text
    assert "hunter3" not in text
    for kind, archive in (("oci-archive", "out.tar"), ("docker-archive", "docker.tar")):
        subprocess.run(["skopeo", "inspect", f"{kind}:{tmp_path}/{archive}"], check=True)


def stated(registry, digest):
    manifest = codec.parse_manifest(registry.content.manifest("stated", digest)[1])
    return [json.loads(registry.content.blobs[layer.digest]) for layer in manifest.layers]


def test_an_image_with_statements_can_be_a_base_and_can_be_run(registry, builder):
    context = builder.context(files(registry))
    name = f"{registry.host}/stated-base:1"
    secret = f"id=key,src={context}/key"
    builder.build(context, "-t", name, "--push", "--provenance", "--secret", secret)
    run = builder.build({"Dockerfile": f"FROM {name}\nRUN cat /var/lib/dpkg/status\n"}, "-t", "x")
    assert run.code == 0
    assert "Package: demo" in builder.run("run", name, "cat", "/var/lib/dpkg/status").out


def test_without_asking_there_is_one_manifest_and_files_tell_of_it(registry, builder, tmp_path):
    name = f"{registry.host}/plain"
    run = builder.build(
        {"Dockerfile": f"FROM {registry.host}/base:1\nLABEL a=b\n"},
        "-o", f"type=image,name={name},push-by-digest=true,push=true",
        "-o", f"type=oci,dest={tmp_path}/layout,tar=false",
        "-o", f"type=tar,dest={tmp_path}/files.tar",
        "--iidfile", tmp_path / "iid",
    )  # fmt: skip
    assert codec.parse_manifest(registry.content.manifest("plain", run.digest)[1])
    assert registry.content.manifest("plain", "latest") is None
    assert (tmp_path / "iid").read_text() == run.metadata["containerimage.config.digest"]
    assert run.metadata["containerimage.descriptor"]["digest"] == run.digest
    assert (tmp_path / "layout/index.json").exists()
    assert (tmp_path / "files.tar").stat().st_size > 1000

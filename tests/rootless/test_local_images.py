"""Images in archives and layouts of this machine, wherever an image can be a source, as skopeo
and buildah write them; and archives that lie.
"""

import io
import json
import os
import subprocess
import tarfile

import pytest
from support.building import Builder

from lazybuild.oci import codec

pytestmark = pytest.mark.rootless


@pytest.fixture(scope="module")
def archives(registry, tmp_path_factory):
    """The base as eStargz in an OCI archive and beside a manifest.json, and as plain tars."""
    folder = tmp_path_factory.mktemp("archives")
    source = f"docker://{registry.host}/base:1"
    for target in (f"oci-archive:{folder}/oci.tar:1", f"docker-archive:{folder}/docker.tar:base:1"):
        copy = ["skopeo", "copy", "-q", "--src-tls-verify=false", "--src-no-creds", source, target]
        found = subprocess.run(copy, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
    builder = Builder(folder / "builder")
    out = f"type=docker,dest={folder}/both.tar"
    builder.build(
        {"Dockerfile": f"FROM {registry.host}/base:1\nENV A=b\n"}, "-t", "both", "-o", out
    )
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=False)


FORMS = [
    "oci-archive:{}/oci.tar:1",
    "docker-archive:{}/both.tar:both:latest",
]


@pytest.mark.parametrize("form", FORMS)
def test_an_estargz_layer_is_read_lazily_where_it_lies(builder, archives, form):
    name = form.format(archives)
    run = builder.build(
        {"Dockerfile": "FROM base\nRUN cat /etc/passwd\n"}, "--build-context", f"base={name}",
        "--require-lazy", "-t", "made",
    )  # fmt: skip
    assert "alice" in run.err
    layer = run.stats["layers"][0]
    assert layer["mode"] == "lazy"
    assert 0 < layer["bytes_read"] < layer["size"]
    assert not (builder.root / "blobs/sha256" / layer["digest"][7:]).exists()


def test_plain_layers_are_unpacked_once_and_never_copied(builder, archives):
    name = f"docker-archive:{archives}/docker.tar:base:1"
    text = "FROM base\nRUN cat /etc/passwd\n"
    run = builder.build({"Dockerfile": text}, "--build-context", f"base={name}")
    assert "alice" in run.err
    assert (run.stats["layers"][0]["mode"], "not eStargz" in run.err) == ("eager", True)
    assert not (builder.root / "blobs/sha256" / run.stats["layers"][0]["digest"][7:]).exists()


def test_files_and_mounts_come_out_of_an_archive(builder, archives):
    text = """\
FROM base AS seen
FROM other
RUN --mount=from=base,target=/m cat /m/etc/passwd > /seen
COPY --from=base /etc/passwd /copied
"""
    flags = (
        *("--build-context", f"base=oci-archive:{archives}/oci.tar"),
        *("--build-context", f"other=docker-archive:{archives}/docker.tar"),
    )
    run = builder.build({"Dockerfile": text}, *flags, "-t", "made", "-o", f"{builder.folder}/out")
    assert "alice" in (builder.folder / "out/copied").read_text()
    assert (builder.folder / "out/seen").read_bytes() == (
        builder.folder / "out/copied"
    ).read_bytes()
    assert {layer["mode"] for layer in run.stats["layers"]} >= {"lazy", "eager"}


def test_a_dockerfile_may_name_an_archive_of_its_context(builder, archives):
    context = builder.context(
        {"Dockerfile": "FROM oci-archive:./sub/../base.tar:1\nRUN cat /etc/passwd\n", "sub/x": ""}
    )
    os.link(archives / "oci.tar", context / "base.tar")
    assert "alice" in builder.build(context, "--require-lazy").err


def test_a_dockerfile_reaches_no_archive_outside_of_its_context(builder, archives):
    text = f"FROM scratch\nCOPY --from=oci-archive:{archives}/oci.tar /etc/passwd /\n"
    run = builder.build({"Dockerfile": text}, expect=1)
    assert "not in the build context" in run.err
    assert "--build-context" in run.err


def test_other_verbs_take_archives_too(builder, archives):
    name = f"oci-archive:{archives}/oci.tar"
    place = builder.folder / "m"
    place.mkdir()
    run = builder.run("mount", name, place, "--", "cat", place / "etc/passwd")
    assert "alice" in run.out
    assert "on this machine" in builder.run("inspect", name).out
    made = builder.run("convert", "-q", name, "made:1", "--compression", "zstd:chunked").out.strip()
    data = (builder.root / "blobs/sha256" / made[7:]).read_bytes()
    assert codec.parse_manifest(data).layers[0].media_type.endswith("zstd")


def test_a_docker_archive_is_run_and_inspected(builder, archives):
    name = f"docker-archive:{archives}/docker.tar"
    assert "alice" in builder.run("run", name, "cat", "/etc/passwd").out
    said = json.loads(builder.run("inspect", "--json", name).out)
    assert (said["layers"][0]["mode"], said["layers"][0]["tocDigest"]) == ("local", "")


def test_the_result_is_pushed_and_exported_with_the_layers_of_the_archive(
    builder, archives, registry
):
    name, out = f"{registry.host}/from-archive:1", builder.folder / "out.tar"
    builder.build(
        {"Dockerfile": "FROM base\nRUN echo x > /x\n"},
        "--build-context", f"base=oci-archive:{archives}/oci.tar",
        "-t", name, "--push", "-o", f"type=oci,dest={out}",
    )  # fmt: skip
    other = Builder(builder.folder / "other")
    assert "x\n" in other.run("run", f"oci-archive:{out}:1", "cat", "/x").out
    pushed = codec.parse_manifest(registry.content.manifest("from-archive", "1")[1])
    assert {layer.digest for layer in pushed.layers} <= registry.content.repository(
        "from-archive"
    ).blobs


def test_an_archive_that_is_gone_or_changed_is_said(builder, archives, tmp_path):
    mine = tmp_path / "mine.tar"
    mine.write_bytes((archives / "oci.tar").read_bytes())
    flags = ("--build-context", f"base=oci-archive:{mine}")
    builder.build({"Dockerfile": "FROM base\nRUN true\n"}, *flags, "-t", "made")
    mine.write_bytes(mine.read_bytes() + b"\0")
    run = builder.run("run", "made", "cat", "/etc/passwd", expect=None)
    assert run.code != 0
    assert f"was in {mine}, which has changed or is gone" in run.err
    run = builder.build({"Dockerfile": "FROM base\nRUN cat /etc/passwd\n"}, *flags)
    assert "alice" in run.err


def changed(archive, target, change):
    """An OCI archive with other bytes in its largest blob."""
    with tarfile.open(archive) as old, tarfile.open(target, "w") as new:
        largest = max(old.getmembers(), key=lambda member: member.size)
        for member in old.getmembers():
            data = old.extractfile(member).read() if member.isfile() else b""
            if member is largest:
                data = change(data)
                member.size = len(data)
            if member.isfile():
                new.addfile(member, io.BytesIO(data))
            else:
                new.addfile(member)
    return largest.name.rpartition("/")[2]


def test_a_layer_that_lies_is_refused(builder, archives):
    bad = builder.folder / "bad.tar"
    changed(archives / "oci.tar", bad, lambda data: data[:4000] + b"?" + data[4001:])
    text = {"Dockerfile": "FROM base\nRUN cat /etc/passwd\n"}
    run = builder.build(text, "--build-context", f"base=oci-archive:{bad}", expect=None)
    assert run.code not in (0, None)
    assert f"{bad}: sha256:" in run.err

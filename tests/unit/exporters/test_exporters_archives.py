"""Archives of images: other tools read them, equal images give equal bytes, lies are found."""

import contextlib
import dataclasses
import gzip
import io
import json
import shutil
import subprocess
import tarfile

import pytest

from lazybuild.errors import BuildError, HostError, IntegrityError, UsageError
from lazybuild.exporters import docker, load, oci
from lazybuild.exporters.base import ExportedImage, ImageBlob
from lazybuild.exporters.destination import destination
from lazybuild.oci import codec, digest, reference
from lazybuild.oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.oci.image import ContainerConfig, ImageConfig, Manifest

needs_skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo")


def tar_of(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def image_of(*plains, names=("app:1",)):
    layers = []
    for plain in plains:
        blob = gzip.compress(plain, mtime=0)
        described = Descriptor(media_type=OCI_LAYER_GZIP, digest=digest.of(blob), size=len(blob))
        layers.append(ImageBlob(descriptor=described, open=lambda blob=blob: io.BytesIO(blob)))
    config = codec.encode(
        ImageConfig(
            os="linux",
            architecture="amd64",
            config=ContainerConfig(cmd=("sh",)),
            diff_ids=tuple(DiffID(digest.of(plain)) for plain in plains),
        )
    )
    described = Descriptor(media_type=OCI_CONFIG, digest=digest.of(config), size=len(config))
    manifest = Manifest(config=described, layers=tuple(layer.descriptor for layer in layers))
    return ExportedImage(
        manifest=codec.encode(manifest),
        media_type=manifest.media_type,
        config=config,
        layers=tuple(layers),
        names=tuple(reference.parse(name) for name in names),
    )


def written(module, image):
    out = io.BytesIO()
    module.export(image, out)
    return out.getvalue()


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            info.name: archive.extractfile(info).read() if info.isfile() else None
            for info in archive
        }


IMAGE = image_of(tar_of(a=b"1"), tar_of(b=b"2"), names=("app:1", "ghcr.io/x/y:z"))


@pytest.mark.parametrize("module", [oci, docker])
def test_the_same_image_gives_the_same_bytes(module):
    assert written(module, IMAGE) == written(module, IMAGE)


@pytest.mark.parametrize("module", [oci, docker])
def test_every_blob_is_there_under_its_digest(module):
    found = members(written(module, IMAGE))
    blobs = {
        name: data for name, data in found.items() if name.startswith("blobs/sha256/") and data
    }
    assert len(blobs) == 4
    for name, data in blobs.items():
        assert digest.of(data) == "sha256:" + name.removeprefix("blobs/sha256/")
    index = codec.parse_index(found["index.json"])
    assert [dict(item.annotations) for item in index.manifests] == [
        {oci.IMAGE_NAME: "docker.io/library/app:1", oci.REF_NAME: "1"},
        {oci.IMAGE_NAME: "ghcr.io/x/y:z", oci.REF_NAME: "z"},
    ]


def test_docker_finds_its_own_files():
    found = members(written(docker, IMAGE))
    (entry,) = json.loads(found["manifest.json"])
    assert entry["RepoTags"] == ["app:1", "ghcr.io/x/y:z"]
    assert found[entry["Config"]] == IMAGE.config
    assert [digest.of(found[name]) for name in entry["Layers"]] == [
        layer.descriptor.digest for layer in IMAGE.layers
    ]
    top = digest.hex_part(IMAGE.layers[-1].descriptor.digest)
    assert json.loads(found["repositories"]) == {"app": {"1": top}, "ghcr.io/x/y": {"z": top}}


def test_an_image_without_a_name_and_one_with_a_layer_twice():
    plain = tar_of(a=b"1")
    found = members(written(docker, image_of(plain, plain, names=())))
    (entry,) = json.loads(found["manifest.json"])
    assert (entry["RepoTags"], len(entry["Layers"])) == (None, 2)
    assert "repositories" not in found
    assert len(codec.parse_index(found["index.json"]).manifests) == 1


@needs_skopeo
@pytest.mark.parametrize(("module", "kind"), [(oci, "oci-archive"), (docker, "docker-archive")])
def test_skopeo_copies_it(tmp_path, module, kind):
    image = image_of(tar_of(a=b"1"), tar_of(b=b"2"))
    path = tmp_path / "image.tar"
    path.write_bytes(written(module, image))
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", f"{kind}:{path}", f"dir:{tmp_path / 'out'}"],
        check=True,
        capture_output=True,
    )
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["config"]["digest"] == image.document().config.digest
    assert len(manifest["layers"]) == 2


@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"x" + data[1:], lambda _: b""],
)
def test_a_blob_that_is_not_what_it_should_be_fails(tmp_path, change):
    blob = gzip.compress(tar_of(a=b"1"), mtime=0)
    liar = dataclasses.replace(IMAGE.layers[0], open=lambda: io.BytesIO(change(blob)))
    image = dataclasses.replace(IMAGE, layers=(liar, IMAGE.layers[1]))
    with pytest.raises(IntegrityError), destination(str(tmp_path / "a.tar")) as out:
        oci.export(image, out)
    with pytest.raises(IntegrityError):
        oci.export_directory(image, tmp_path / "layout")
    assert list(tmp_path.glob("*.tar*")) == []
    assert not (tmp_path / "layout" / "index.json").exists()


@needs_skopeo
def test_a_directory_takes_one_image_after_the_other(tmp_path):
    dest = tmp_path / "layout"
    first, second = image_of(tar_of(a=b"1")), image_of(tar_of(a=b"2"), names=("app:2",))
    oci.export_directory(first, dest)
    oci.export_directory(second, dest)
    oci.export_directory(second, dest)
    assert len(codec.parse_index((dest / "index.json").read_bytes()).manifests) == 2
    for image, tag in ((first, "1"), (second, "2")):
        raw = subprocess.run(
            ["skopeo", "inspect", "--raw", f"oci:{dest}:{tag}"], check=True, capture_output=True
        ).stdout
        assert raw == image.manifest
    oci.export_directory(dataclasses.replace(second, names=first.names), dest)
    index = codec.parse_index((dest / "index.json").read_bytes())
    assert {item.digest for item in index.manifests} == {second.descriptor.digest}


def test_other_directories_are_left_alone(tmp_path):
    (tmp_path / "precious").touch()
    with pytest.raises(UsageError, match="other things"):
        oci.export_directory(IMAGE, tmp_path)
    with pytest.raises(UsageError, match="not a directory"):
        oci.export_directory(IMAGE, tmp_path / "precious")
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout" / "oci-layout").touch()
    (tmp_path / "layout" / "index.json").write_text("[]")
    with pytest.raises(UsageError, match="index"):
        oci.export_directory(IMAGE, tmp_path / "layout")


def test_a_destination_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "out"
    path.write_text("old")
    with contextlib.suppress(ZeroDivisionError), destination(str(path)) as out:
        out.write(b"half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    with destination(str(path)) as out:
        out.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_destinations_that_can_not_be(tmp_path):
    for dest in (tmp_path, tmp_path / "no" / "such"):
        with pytest.raises(UsageError, match="can't write"), destination(str(dest)):
            pass
    with destination("/dev/null") as out:
        out.write(b"x")


def test_no_archive_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    with pytest.raises(UsageError, match="terminal"), destination("-"):
        pass


def script(tmp_path, text):
    path = tmp_path / "docker"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_load_feeds_the_command(tmp_path):
    said = load.export(IMAGE, command=script(tmp_path, f'echo "$1"; cat > {tmp_path}/got'))
    assert said == "load"
    assert (tmp_path / "got").read_bytes() == written(docker, IMAGE)


def test_a_failing_load_says_why(tmp_path):
    big = image_of(tar_of(a=bytes(range(256)) * 4000 + digest.of(b"x").encode() * 9999))
    for text in ("echo no daemon >&2; exit 1", "cat >/dev/null; echo no daemon; exit 3"):
        with pytest.raises(BuildError, match="no daemon"):
            load.export(big, command=script(tmp_path, text))
    with pytest.raises(HostError, match="can't start"):
        load.export(big, command=str(tmp_path / "absent"))


def test_no_command_to_load_with(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError, match="docker or podman"):
        load.export(IMAGE)


def test_a_broken_layer_kills_the_load(tmp_path):
    liar = dataclasses.replace(IMAGE.layers[0], open=lambda: io.BytesIO(b""))
    image = dataclasses.replace(IMAGE, layers=(liar, IMAGE.layers[1]))
    with pytest.raises(IntegrityError):
        load.export(image, command=script(tmp_path, f"cat >/dev/null && touch {tmp_path}/loaded"))
    assert not (tmp_path / "loaded").exists()

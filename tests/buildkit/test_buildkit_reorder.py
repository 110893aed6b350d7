"""An image of a BuildKit whose new layers are written in prefetch order on their way."""

import json

import pytest
from support.building import Builder

pytestmark = pytest.mark.root


@pytest.fixture
def lazybuild(tmp_path, moby):
    def run(verb, *words, code=0):
        builder = ["--builder", f"docker://{moby.socket}"] if verb == "build" else []
        return Builder(tmp_path).run(verb, *builder, *words, expect=code)

    return run


@pytest.fixture
def context(tmp_path, base):
    folder = tmp_path / "context"
    (folder / "tree" / "data").mkdir(parents=True)
    for name in ("a", "b", "z"):
        (folder / "tree" / "data" / name).write_text(name)
    (folder / "tree" / "zz-run").write_text("#!/bin/sh\necho ran\n")
    (folder / "tree" / "zz-run").chmod(0o755)
    (folder / "Dockerfile").write_text(f'FROM {base}\nCOPY tree /\nENTRYPOINT ["/zz-run"]\n')
    return folder


def shown(lazybuild, name):
    return json.loads(lazybuild("inspect", "--json", name).out)


def test_new_layers_are_ordered_and_those_of_the_base_stay(
    lazybuild, context, tmp_path, registry, base
):
    archive, metadata = tmp_path / "image.tar", tmp_path / "metadata.json"
    name = f"{registry.host}/ordered:1"
    words = ["--build-arg", "LAZYBUILD_PREFETCH=data/z", "--metadata-file", metadata, "-t", name]
    outputs = ["-o", f"type=oci,dest={archive},prefetch=true", "-o", "type=registry,prefetch=true"]
    lazybuild("build", context, *words, *outputs)
    found = shown(lazybuild, f"oci-archive:{archive}")
    under = shown(lazybuild, base)
    *below, own = found["manifest"]["layers"]
    assert [it["digest"] for it in below] == [it["digest"] for it in under["manifest"]["layers"]]
    assert found["layers"][-1]["prefetch"]["files"] == ["zz-run", "data/z"]
    assert own["annotations"]["containerd.io/snapshot/stargz/toc.digest"]
    digest = json.loads(metadata.read_text())["containerimage.digest"]
    pushed = lazybuild("inspect", "--raw", name).out
    assert json.loads(pushed)["layers"] == found["manifest"]["layers"]
    assert f"{registry.host}/ordered" not in lazybuild("images").out
    lazybuild("build", context, *words, *outputs)
    assert json.loads(metadata.read_text())["containerimage.digest"] == digest
    assert lazybuild("run", name).out == "ran\n"


def test_files_and_archives_of_docker_have_no_order(lazybuild, context, tmp_path):
    done = lazybuild("build", context, "-o", f"type=docker,dest={tmp_path}/x,prefetch=true", code=2)
    assert "type=docker has no prefetch=true" in done.err


def test_each_of_several_platforms_is_ordered(lazybuild, context, tmp_path):
    place = tmp_path / "image.tar"
    text = 'FROM scratch\nARG TARGETARCH\nCOPY tree /\nENV ARCH=$TARGETARCH\nCMD ["/zz-run"]\n'
    (context / "Dockerfile").write_text(text)
    output = f"type=oci,dest={place},prefetch=true"
    lazybuild("build", context, "--platform", "linux/amd64,linux/arm64", "-o", output)
    for name in ("amd64", "arm64"):
        words = ("--json", f"oci-archive:{place}", "--platform", f"linux/{name}")
        found = json.loads(lazybuild("inspect", *words).out)
        assert f"ARCH={name}" in found["config"]["config"]["Env"]
        (layer,) = found["layers"]
        assert layer["prefetch"]["files"] == ["zz-run"]

"""Layers whose table of contents lies in another image, as `nerdctl image convert
--estargz-external-toc` makes them.
"""

import tarfile

import pytest
from support import layers, legacy
from support.layers import Bytes
from support.registry import LocalRegistry
from support.rootfs import make_rootfs

from lazybuild.estargz import tar
from lazybuild.estargz.reader import open_toc
from lazybuild.oci.descriptor import TOC_DIGEST

pytestmark = pytest.mark.rootless


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The blob without its TOC, and the TOC."""
    folder = tmp_path_factory.mktemp("external")
    with tarfile.open(folder / "root.tar", "w") as archive:
        archive.add(make_rootfs(folder / "root"), ".")
    with (folder / "root.tar").open("rb") as plain:
        blob, _ = layers.write(tar.index(plain))
    found = open_toc(Bytes(blob))
    return legacy.without_toc(blob, found), found.raw


@pytest.fixture
def registry():
    with LocalRegistry() as registry:
        yield registry


def base(registry, made):
    blob, toc = made
    return legacy.push(registry, "x", blob, annotations={TOC_DIGEST: layers.digest(toc)})


def test_the_toc_is_found_in_the_image_beside_it(builder, registry, made):
    name = base(registry, made)
    legacy.push_toc(registry, "x", *made)
    assert "lazy" in builder.run("inspect", name).out
    text = {"Dockerfile": f"FROM {name}\nRUN cat /etc/passwd\n"}
    run = builder.build(text, "--require-lazy")
    assert "alice" in run.err
    layer = run.stats["layers"][0]
    assert (layer["mode"], layer["reason"]) == ("lazy", "")
    assert layer["bytes_fetched"] < layer["size"]


@pytest.mark.parametrize(
    ("push", "said"),
    [
        (lambda registry, made: None, "its table of contents should be in 127.0.0.1"),
        (lambda registry, made: legacy.push_toc(registry, "x", made[0], b"{}"), "a TOC sha256:"),
    ],
)
def test_one_that_is_not_there_or_another_makes_the_layer_eager(
    builder, registry, made, push, said
):
    name = base(registry, made)
    push(registry, made)
    run = builder.build({"Dockerfile": f"FROM {name}\nRUN cat /etc/passwd\n"}, "--retry", "0")
    assert "alice" in run.err
    assert run.stats["layers"][0]["mode"] == "eager"
    assert said in run.stats["layers"][0]["reason"]

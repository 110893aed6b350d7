"""Layers with a table of contents that nobody vouches for: legacy stargz, and eStargz whose
annotations were lost. Eager with the reason, lazy only on request, and never a result for others.
"""

import gzip
import tarfile

import pytest
from support import legacy
from support.building import Builder
from support.registry import LocalRegistry
from support.rootfs import make_rootfs
from support.tiny_image import noise

from lazybuild.oci import codec

pytestmark = pytest.mark.rootless
CHUNK = 64 << 10


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    root = make_rootfs(folder / "root")
    (root / "large").write_bytes(noise(3 * CHUNK + 5))
    (root / "other").write_bytes(noise(20 * CHUNK, 7))
    with tarfile.open(folder / "root.tar", "w") as tar:
        tar.add(root, ".")
    return folder / "root.tar"


@pytest.fixture(scope="module")
def blob(archive):
    return legacy.stargz(archive, chunk=CHUNK)


@pytest.fixture
def registry():
    with LocalRegistry() as registry:
        yield registry


@pytest.fixture
def old(registry, blob):
    return legacy.push(registry, "old", blob)


def test_legacy_stargz_is_eager_and_says_what_would_make_it_lazy(builder, old):
    assert "legacy stargz" in builder.run("inspect", old).out
    run = builder.build({"Dockerfile": f"FROM {old}\nRUN cat /etc/passwd\n"})
    assert "alice" in run.err
    layer = run.stats["layers"][0]
    assert layer["mode"] == "eager"
    assert layer["reason"] == "legacy stargz, which has no digests (--allow-unverified)"
    assert layer["reason"] in run.err


def test_legacy_stargz_is_lazy_on_request_and_keeps_to_itself(builder, old, registry):
    text = {
        "Dockerfile": f"FROM {old}\nRUN cat /large > /copy\nFROM scratch\nCOPY --from=0 /copy /\n"
    }
    run = builder.build(text, "--allow-unverified", "--require-lazy", "-o", f"{builder.folder}/out")
    assert (builder.folder / "out/copy").read_bytes() == noise(3 * CHUNK + 5)
    assert "read unverified: nobody vouches for its files" in run.err
    layer = run.stats["layers"][0]
    assert (layer["mode"], layer["reason"]) == ("lazy", "unverified")
    assert layer["bytes_fetched"] < layer["size"] / 2
    again = builder.build(text)
    assert not again.step("RUN")["cached"]
    assert again.stats["layers"][0]["mode"] == "eager"
    text = {"Dockerfile": f"FROM scratch\nCOPY --from={old} /large /\n"}
    assert builder.build(text, "--allow-unverified", "-o", f"{builder.folder}/two")
    assert (builder.folder / "two/large").read_bytes() == noise(3 * CHUNK + 5)


def test_run_and_mount_take_the_flag_too(builder, old):
    assert "alice" in builder.run("run", "--allow-unverified", old, "cat", "/etc/passwd").out
    assert list((builder.root / "snapshots").iterdir()) == []


def test_estargz_without_its_annotations_is_read_on_request(builder, registry, archive):
    context = builder.context({"Dockerfile": "FROM scratch\nADD root.tar /\n"})
    (context / "root.tar").write_bytes(archive.read_bytes())
    builder.build(context, "-t", f"{registry.host}/new:1", "--push")
    manifest = codec.parse_manifest(registry.content.manifest("new", "1")[1])
    data = registry.content.blobs[manifest.layers[0].digest]
    bare = legacy.push(registry, "bare", data)
    other = Builder(builder.folder / "other")
    text = {"Dockerfile": f"FROM {bare}\nRUN cat /etc/passwd\n"}
    run = other.build(text, "--allow-unverified", "--require-lazy")
    assert run.stats["layers"][0]["mode"] == "lazy"


def test_a_plain_layer_stays_eager_whatever_is_allowed(builder, registry, archive):
    plain = legacy.push(registry, "plain", gzip.compress(archive.read_bytes(), 1))
    text = {"Dockerfile": f"FROM {plain}\nRUN cat /etc/passwd\n"}
    run = builder.build(text, "--allow-unverified")
    assert run.stats["layers"][0]["mode"] == "eager"
    assert run.stats["layers"][0]["reason"] == "it has no TOC"

"""Peers read what is written: umoci unpacks it, skopeo checks and re-packs it, GNU tar lists it."""

import json
import os
import shutil
import subprocess

import pytest
from support.layers import digest, file, folder, link, write

from lazybuild.estargz.tail import Compression

ITEMS = [
    folder("etc"),
    file("etc/conf", b"setting\n" * 100, mode=0o640, mtime=1_600_000_000_000_000_000),
    file("etc/big", bytes(range(256)) * 300),
    file("etc/empty"),
    link("etc/soft", "../etc/conf"),
    link("etc/hard", "etc/conf", hard=True),
    file("etc/\u00fcml\u00e4ut", b"name"),
    folder("/".join(["d" * 60] * 3)),
    file("/".join(["d" * 60] * 3) + "/" + "f" * 120, b"deep"),
]


def put(layout, data, media_type, **more):
    (layout / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    name = digest(data)
    (layout / "blobs/sha256" / name[7:]).write_bytes(data)
    return {"mediaType": media_type, "digest": name, "size": len(data), **more}


def image(layout, blob, written):
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [written.diff_id]},
        "config": {},
    }
    kind = "application/vnd.oci.image."
    layer = put(layout, blob, written.media_type, annotations=dict(written.annotations))
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind + "manifest.v1+json",
        "config": put(layout, json.dumps(config).encode(), kind + "config.v1+json"),
        "layers": [layer],
    }
    entry = put(layout, json.dumps(manifest).encode(), kind + "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "it"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def needs(tool):
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


@needs("umoci")
@pytest.mark.parametrize("hot", [(), ("etc/hard",)])
def test_umoci_unpacks_every_file_and_no_toc(tmp_path, hot):
    blob, written = write(ITEMS, hot=hot, chunk_size=4096)
    image(tmp_path / "oci", blob, written)
    run("umoci", "unpack", "--rootless", "--image", f"{tmp_path}/oci:it", f"{tmp_path}/out")
    root = tmp_path / "out/rootfs"
    for item in ITEMS:
        if item.open:
            assert (root / item.entry.name).read_bytes() == item.open().read()
    assert (root / "etc/hard").stat().st_ino == (root / "etc/conf").stat().st_ino
    assert (root / "etc/conf").stat().st_mtime == 1_600_000_000
    assert os.readlink(root / "etc/soft") == "../etc/conf"
    assert not (root / "stargz.index.json").exists()


@needs("skopeo")
@pytest.mark.parametrize("kind", list(Compression))
def test_skopeo_takes_each_format_and_its_diff_id_holds(tmp_path, kind):
    blob, written = write(ITEMS, compression=kind, chunk_size=4096)
    image(tmp_path / "oci", blob, written)
    run("skopeo", "copy", f"oci:{tmp_path}/oci:it", f"dir:{tmp_path}/copied")
    decompress = ["--dest-decompress", f"oci:{tmp_path}/oci:it", f"dir:{tmp_path}/plain"]
    run("skopeo", "copy", *decompress)
    manifest = json.loads((tmp_path / "plain/manifest.json").read_text())
    assert manifest["layers"][0]["digest"] == written.diff_id


@needs("tar")
def test_gnu_tar_lists_no_toc_and_complains_of_nothing(tmp_path):
    blob, _ = write(ITEMS, hot=["etc/big"], chunk_size=4096)
    (tmp_path / "layer.tgz").write_bytes(blob)
    done = subprocess.run(
        ["tar", "-tzf", tmp_path / "layer.tgz", "--quoting-style=literal"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    names = done.stdout.splitlines()
    assert names[:3] == ["etc/", "etc/big", ".prefetch.landmark"]
    assert sorted(name.rstrip("/") for name in names) == sorted(
        [*(item.entry.name for item in ITEMS), ".prefetch.landmark"]
    )

"""Images by name: list, tag, inspect, pull, push, prune, du, doctor, login over real registries."""

import gzip
import json
import stat
import subprocess
import sys

import pytest
from support import tars
from support.building import Builder
from support.docker_registry import PASSWORD, USER, DockerRegistry
from support.tiny_image import tiny_image

from lazybuild.oci import platform
from lazybuild.oci.digest import of

pytestmark = pytest.mark.rootless


def small(builder, base, *flags):
    files = {"Dockerfile": f"FROM {base}\nCOPY new /new\nENV A=b\n", "new": "content\n"}
    return builder.build(files, *flags)


def listed(builder):
    return {row["name"]: row for row in json.loads(builder.run("images", "--json").out)}


class Watch:
    """What a registry is asked for from now on."""

    def __init__(self, registry):
        self.registry = registry
        self.before = len(registry.log)

    def fetched(self):
        """The bytes of blobs that were read."""
        new = self.registry.log[self.before :]
        return sum(it.sent for it in new if it.method == "GET" and "/blobs/" in it.path)


def test_images_are_listed_named_and_unnamed(builder, base):
    built = small(builder, base, "-t", "one", "-t", "two:x")
    rows = listed(builder)
    assert set(rows) == {"one:latest", "two:x"}
    assert rows["one:latest"]["digest"] == built.digest
    assert rows["one:latest"]["id"] == built.metadata["containerimage.config.digest"]
    assert rows["one:latest"]["size"] > 1_000_000
    assert builder.run("images", "-q").out == f"{built.digest}\n"
    assert "one:latest" in builder.run("images", "one").out
    assert "two:x" not in builder.run("images", "one").out

    builder.run("tag", built.digest[7:19], "three")
    assert builder.run("rmi", "one").out == "untagged one:latest\n"
    assert set(listed(builder)) == {"two:x", "three:latest"}
    assert "no such image" in builder.run("rmi", "one", expect=2).err
    builder.run("rmi", "--force", "one")
    builder.run("rmi", built.digest)
    assert listed(builder) == {}


def test_a_damaged_image_hides_no_other(builder, base):
    small(builder, base, "-t", "good")
    files = {"Dockerfile": "FROM scratch\nCOPY new /\n", "new": "x"}
    bad = builder.build(files, "-t", "bad").digest
    path = builder.root / "blobs/sha256" / bad[7:]
    path.chmod(0o644)
    path.write_bytes(b"{}")
    run = builder.run("images")
    assert "good:latest" in run.out
    assert "bad:latest" in run.out
    assert "damaged" in run.err
    path.unlink()
    assert "bad:latest" in builder.run("images").out
    builder.run("rmi", "bad")


def test_a_wrong_name_is_refused(builder, base):
    small(builder, base, "-t", "one")
    for bad in ("UPPER", "a/../b", "one@sha256:12", "x" * 300):
        assert "invalid image reference" in builder.run("tag", "one", bad, expect=2).err
    assert set(listed(builder)) == {"one:latest"}


def test_inspect_says_how_each_layer_is_read(builder, base):
    small(builder, base, "-t", "one")
    said = json.loads(builder.run("inspect", "--json", "one").out)
    assert [layer["mode"] for layer in said["layers"]] == ["lazy", "local"]
    assert said["stored"]
    assert said["layers"][0]["origins"] == [base.rpartition(":")[0]]
    assert "bin/sh" in said["layers"][0]["prefetch"]["files"]
    assert "A=b" in said["config"]["config"]["Env"]
    assert said["manifest"]["layers"][1]["digest"] == said["layers"][1]["digest"]
    text = builder.run("inspect", "one").out
    assert "lazy" in text
    assert "prefetch" in text


def test_inspect_reads_a_table_of_contents_and_no_more(builder, base, registry):
    size = json.loads(builder.run("inspect", "--json", base).out)["layers"][0]["size"]
    watch = Watch(registry)
    lines = [json.loads(line) for line in builder.run("inspect", "--toc", base).out.splitlines()]
    assert {"bin/sh", "etc/passwd"} <= {line["path"] for line in lines}
    assert 0 < watch.fetched() < size / 4
    raw = builder.run("inspect", "--raw", base).out
    assert of(raw.encode()) == json.loads(builder.run("inspect", "--json", base).out)["digest"]


def plain(registry):
    """An image with a layer of plain gzip that holds one file."""
    tar = tars.tar([tars.file("hello", b"not a program", mode=0o755)])
    config = {
        "os": "linux",
        "architecture": platform.host().architecture,
        "rootfs": {"type": "layers", "diff_ids": [of(tar)]},
    }
    image = tiny_image([gzip.compress(tar)], json.dumps(config).encode())
    for blob in (image.config, *image.layers):
        registry.put_blob("plain", blob)
    registry.put_manifest("plain", image.manifest, tag="1")
    return f"{registry.host}/plain:1"


def test_a_layer_that_is_not_estargz_is_eager_and_says_why(builder, registry):
    name = plain(registry)
    (layer,) = json.loads(builder.run("inspect", "--json", name).out)["layers"]
    assert layer["mode"] == "eager"
    assert "not eStargz" in layer["reason"]
    run = builder.run("run", "-D", name, "/hello", expect=126)
    assert "eager: not eStargz" in run.err


def test_pull_leaves_layers_where_they_are(builder, base, registry):
    watch = Watch(registry)
    assert "left at the registry" in builder.run("pull", base).out
    assert 0 < watch.fetched() < 10_000
    assert set(listed(builder)) == {base}
    builder.run("pull", "--whole", base)
    (layer,) = json.loads(builder.run("inspect", "--json", base).out)["layers"]
    assert layer["mode"] == "local"
    assert builder.run("run", base, "cat", "/etc/group").out.startswith("root:")


def test_an_image_that_is_nowhere(builder, registry):
    name = f"{registry.host}/nowhere:1"
    assert "nowhere" in builder.run("pull", name, expect=104).err
    assert "nowhere" in builder.run("inspect", name, expect=104).err


def test_push_mounts_what_was_never_downloaded(builder, base, registry):
    small(builder, base, "-t", "one")
    watch = Watch(registry)
    target = f"{registry.host}/team/app:1"
    assert "1 mounted" in builder.run("push", "one", target).out
    assert watch.fetched() == 0
    other = Builder(builder.folder / "other")
    assert other.run("run", target, "cat", "/new").out == "content\n"


def test_push_streams_a_base_to_another_registry(builder, base, tmp_path):
    small(builder, base, "-t", "one")
    with DockerRegistry(tmp_path) as there:
        target = f"{there.host}/app:1"
        assert "1 copied" in builder.run("push", "one", target).out
        assert builder.run("push", base, f"{there.host}/base:2").code == 0
        other = Builder(builder.folder / "other")
        assert other.run("run", target, "cat", "/new").out == "content\n"
        assert other.run("run", f"{there.host}/base:2", "true").code == 0
    assert not any((builder.root / "blobs/sha256").glob("*.tmp"))


def test_prune_keeps_what_has_a_name_and_takes_the_rest(builder, base):
    small(builder, base, "-t", "one")
    builder.build(
        {"Dockerfile": f"FROM {base}\nRUN echo big > /big; chown 1000 /big\n"}, "-t", "two"
    )
    assert "removed nothing" in builder.run("prune", "--force").out
    builder.run("rmi", "two")
    said = builder.run("prune", "--all", "--force").out
    assert "1 layer" in said
    assert list((builder.root / "snapshots").iterdir()) == []
    assert builder.run("run", "one", "cat", "/new").out == "content\n"
    builder.run("rmi", "one")
    builder.run("prune", "-af")
    assert json.loads(builder.run("du", "--json").out) == []


def test_du_adds_up(builder, base):
    builder.build(
        {"Dockerfile": f"FROM {base}\nRUN head -c 3000000 /dev/zero > /big\n"}, "-t", "one"
    )
    items = json.loads(builder.run("du", "--json").out)
    assert sum(item["size"] for item in items if item["kind"] == "layer") > 1000
    assert {"layer", "blob"} <= {item["kind"] for item in items}
    text = builder.run("du", "-v").out
    assert "RUN head" in text
    assert "total" in text


def test_the_doctor_finds_this_host_well(builder):
    said = json.loads(builder.run("doctor", "--json").out)
    assert {"tier", "ids", "store"} <= {finding["name"] for finding in said}
    assert not [finding for finding in said if finding["verdict"] == "no"]
    assert builder.run("doctor").out.startswith("ok    tier    T")


def test_the_doctor_says_what_to_do(builder, tmp_path):
    place = tmp_path / "file"
    place.touch()
    run = builder.run("doctor", "--root", place, expect=1)
    assert "NO" in run.out
    assert "fix:" in run.out


def login(builder, host, password, *flags, expect=0):
    process = subprocess.run(
        [sys.executable, "-m", "lazybuild", "login", "-u", USER, "--password-stdin", *flags, host],
        env=builder.environment,
        input=password,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == expect, process.stderr
    assert password not in process.stdout + process.stderr
    return process


def test_login_is_tried_and_kept_for_pushes(builder, base, tmp_path):
    with DockerRegistry(tmp_path, password=True) as there:
        target = f"{there.host}/app:1"
        small(builder, base, "-t", "one")
        builder.run("push", "one", target, expect=104)
        login(builder, there.host, "wrong-password", expect=104)
        assert not (builder.folder / ".docker/config.json").exists()
        login(builder, there.host, PASSWORD)
        kept = builder.folder / ".docker/config.json"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        builder.run("push", "one", target)
        assert "Removed" in builder.run("logout", there.host).out
        builder.run("push", "one", target, expect=104)
        assert "Not logged in" in builder.run("logout", there.host).out


def test_a_password_is_not_asked_for_without_a_terminal(builder):
    assert "--password-stdin" in builder.run("login", "-u", "me", "localhost:1", expect=2).err

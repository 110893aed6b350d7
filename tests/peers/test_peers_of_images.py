"""What lazybuild pushes is read by the programs that people have: Debian's, as packaged.

An image is built and pushed by an unprivileged user; each peer then takes it from the registry.
podman and crun run it for real; see `Caged` for what a host with two kinds of cgroups needs.
"""

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from support import validate
from support.agreement import check_agreement
from support.docker_registry import DockerRegistry
from support.peers import Caged, Containerd, User, UserBuilder, lacks, succeed
from support.rootfs import make_rootfs

from lazybuild.estargz.reader import open_toc
from lazybuild.estargz.streams import decompress
from lazybuild.oci import codec
from lazybuild.oci.descriptor import TOC_DIGEST
from lazybuild.store import Place
from lazybuild.store.blobs import FileRanges

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM scratch AS base
ADD rootfs.tar /
FROM base
RUN echo made > /made && mkdir /new && echo twice > /new/one && ln /new/one /new/two \
    && ln -s one /new/link && chmod 4711 /new/one && chown 1000:1000 /made && rm /bin/perl
COPY --chown=1000 big /new/big
ENV GREETING=hello
USER 1000
CMD ["sh", "-c", "id -u; cat /made; echo $GREETING; [ -e /bin/perl ] || echo no perl"]
"""
SAID = "1000\nmade\nhello\nno perl\n"
BIG = bytes(range(256)) * 40_000
EPOCH = ("--source-date-epoch", "1700000000")


@pytest.fixture(scope="module")
def user():
    return User.builder()


@pytest.fixture(scope="module")
def place(user):
    """A folder of the user's, and the check that all who worked in it are gone."""
    folder = Path(tempfile.mkdtemp(prefix="lb-peers-", dir="/var/tmp"))
    yield user.owns(folder)
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    shutil.rmtree(folder)
    assert mounts == []


@pytest.fixture(scope="module")
def registry(place):
    (place / "registry").mkdir()
    with DockerRegistry(place / "registry") as registry:
        yield registry


@pytest.fixture(scope="module")
def rootfs(place):
    """The tar that the image is made of."""
    tree, path = make_rootfs(place / "rootfs"), place / "rootfs.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(tree, ".", filter=_of_root)
    return path.read_bytes()


def _of_root(member):
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def build(user, folder, rootfs, *flags):
    builder = UserBuilder(user, folder)
    files = {"Dockerfile": DOCKERFILE, "rootfs.tar": rootfs, "big": BIG}
    run = builder.build(files, *EPOCH, *flags)
    assert builder.leftovers() == []
    return run


@pytest.fixture(scope="module")
def pushed(user, place, registry, rootfs):
    return build(user, place / "first", rootfs, "-t", f"{registry.host}/app:1", "--push")


@pytest.fixture
def image(registry, pushed):
    return f"{registry.host}/app:1"


@pytest.fixture
def folder(user, place):
    """A home for one test; podman has no use for long names."""
    return user.owns(Path(tempfile.mkdtemp(dir=place)))


@pytest.fixture(scope="module")
def layout(user, place, registry, pushed):
    """The image as skopeo copies it out of the registry."""
    home = user.owns(place / "skopeo")
    source = f"docker://{registry.host}/app:1"
    user.run(["skopeo", "copy", "--src-tls-verify=false", source, "oci:layout:app"], home)
    return home / "layout"


def blob(layout, digest):
    return layout / "blobs/sha256" / digest.removeprefix("sha256:")


def manifest(layout, digest):
    return codec.parse_document(blob(layout, digest).read_bytes())


def test_all_peers_are_here():
    needed = ("ctr-remote", "containerd", "skopeo", "umoci", "buildah", "podman", "crun")
    assert lacks(*needed) == []


def test_the_same_build_in_two_empty_stores_gives_the_same_manifest(user, folder, rootfs, pushed):
    assert build(user, folder, rootfs, "-t", "app:1").digest == pushed.digest


def test_skopeo_inspects_what_was_pushed(user, folder, image, pushed):
    raw = user.run(["skopeo", "inspect", "--tls-verify=false", f"docker://{image}"], folder)
    seen = json.loads(raw)
    assert seen["Digest"] == pushed.digest
    assert "GREETING=hello" in seen["Env"]
    assert len(seen["Layers"]) == 3


def test_skopeo_copies_it_without_changing_a_byte(layout, pushed):
    index = codec.parse_index((layout / "index.json").read_bytes())
    assert index.manifests[0].digest == pushed.digest


def test_every_digest_is_true_and_tables_and_archives_agree(layout, pushed):
    checked = []

    def check_toc(descriptor, toc_digest):
        path = blob(layout, descriptor.digest)
        toc = open_toc(FileRanges(Place.whole(path)), descriptor.annotations).verify(toc_digest)
        with path.open("rb") as file:
            checked.append(check_agreement(file, toc))

    validate.validate(
        codec.parse_index((layout / "index.json").read_bytes()).manifests[0],
        lambda descriptor: blob(layout, descriptor.digest).open("rb"),
        lambda stream, media_type: decompress(stream),
        check_toc,
    )
    config = blob(layout, manifest(layout, pushed.digest).config.digest)
    assert checked == list(codec.parse_config(config.read_bytes()).diff_ids)


def test_umoci_unpacks_plain_files(folder, layout):
    succeed(["umoci", "unpack", "--image", f"{layout}:app", folder / "bundle"], folder)
    root = folder / "bundle/rootfs"
    assert not (root / "stargz.index.json").exists()
    assert not (root / "bin/perl").exists()
    assert (root / "new/big").read_bytes() == BIG
    assert (root / "new/big").stat().st_uid == 1000
    one = (root / "new/one").stat()
    assert (one.st_mode & 0o7777, one.st_nlink) == (0o4711, 2)
    assert os.path.samefile(root / "new/two", root / "new/one")
    assert (root / "new/link").readlink() == Path("one")


def test_gnu_tar_sees_no_table_of_contents(layout, pushed):
    for layer in manifest(layout, pushed.digest).layers:
        listed = subprocess.run(
            ["tar", "-tzf", blob(layout, layer.digest)], capture_output=True, check=True, text=True
        )
        assert "stargz.index.json" not in listed.stdout
        assert listed.stderr == ""


def test_stargz_snapshotter_finds_the_table_of_each_layer(folder, image, layout, pushed):
    with Containerd(folder) as containerd:
        containerd.ctr("content", "fetch", "--plain-http", image)
        for layer in manifest(layout, pushed.digest).layers:
            said = containerd.ctr("image", "get-toc-digest", layer.digest)
            assert said.strip() == layer.annotations[TOC_DIGEST]


def storage(folder):
    return ["--storage-driver=vfs", f"--root={folder}/store", f"--runroot={folder}/run"]


def test_buildah_runs_it_rootless_with_chroot_isolation(user, folder, image):
    buildah = ["buildah", *storage(folder)]
    caged = Caged(user)
    source = ["--tls-verify=false", "--name=app", f"docker://{image}"]
    caged.run([*buildah, "from", *source], folder)
    command = ["sh", "-c", "cat /made; ls /new; id -u"]
    said = caged.run([*buildah, "run", "--isolation=chroot", "app", "--", *command], folder)
    assert said == "made\nbig\nlink\none\ntwo\n1000\n"


def test_podman_runs_it_rootless(user, folder, image):
    flags = ["--tls-verify=false", "--cgroups=disabled", "--network=host", "--rm"]
    podman = ["podman", "--cgroup-manager=cgroupfs", *storage(folder)]
    assert Caged(user).run([*podman, "run", *flags, image], folder) == SAID

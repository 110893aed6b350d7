"""Images outside of a build: found by name and digest, run as their config says, hosts examined."""

import errno
import os
import threading

import pytest
from support.registry import LocalRegistry
from support.tiny_image import tiny_image

from lazybuild.build import checkup, container, ground
from lazybuild.build.container import Wish
from lazybuild.build.finding import Finding
from lazybuild.build.library import Library
from lazybuild.build.space import Space
from lazybuild.errors import HostError, UsageError
from lazybuild.events import Warned, discard
from lazybuild.executor.host import Host, described
from lazybuild.oci import codec
from lazybuild.oci.descriptor import OCI_INDEX, Descriptor
from lazybuild.oci.image import ContainerConfig, Index
from lazybuild.registry.config import RegistryConfig


@pytest.fixture
def space(tmp_path):
    with Space(
        root=tmp_path / "store", config=RegistryConfig(), sink=discard, stop=threading.Event()
    ) as space:
        yield space


def kept(space, name, layer=b"layer"):
    image = tiny_image([layer])
    for data in (image.config, image.manifest, *image.layers):
        space.store.blobs.put(data)
    space.store.tag(name, image.descriptor)
    return image


def test_an_image_is_found_by_name_and_by_every_digest_of_it(space):
    image = kept(space, "docker.io/library/one:latest")
    library = Library(space)
    for text in (
        "one",
        "one:latest",
        image.descriptor.digest,
        image.descriptor.digest[7:19],
        image.config_descriptor.digest[7:19],
    ):
        found = library.stored(text)
        assert found is not None, text
        assert found.descriptor.digest == image.descriptor.digest
        assert found.stored
    assert library.stored("two") is None
    assert library.stored("abcdef") is None
    with pytest.raises(UsageError, match="no such image"):
        library.named("two")


def test_a_beginning_that_two_images_share_is_refused(space, monkeypatch):
    kept(space, "docker.io/library/one:latest")
    kept(space, "docker.io/library/two:latest", b"other")
    monkeypatch.setattr("lazybuild.build.library.Library._is_called", lambda *_: True)
    with pytest.raises(UsageError, match="2 images begin with it"):
        Library(space).stored("abcd")


def test_two_names_of_one_image_are_no_doubt(space):
    image = kept(space, "docker.io/library/one:latest")
    kept(space, "docker.io/library/two:latest")
    assert Library(space).is_id(image.descriptor.digest[7:15])


def test_what_the_store_lacks_is_asked_for_at_the_registry(space):
    image = tiny_image()
    with LocalRegistry() as registry:
        registry.put_manifest("one", image.manifest, tag="1")
        found = Library(space).find(f"{registry.host}/one:1")
        assert (found.descriptor.digest, found.stored) == (image.descriptor.digest, False)
        pinned = f"{registry.host}/one@{image.descriptor.digest}"
        before = len(registry.log)
        assert Library(space).find(pinned).descriptor.digest == image.descriptor.digest
        assert len(registry.log) == before


def test_manifests_come_before_their_index(space):
    images = [kept(space, f"docker.io/library/i{n}:latest", b"%d" % n) for n in range(2)]
    index = Index(manifests=tuple(image.descriptor for image in images))
    data = codec.encode(index)
    descriptor = Descriptor(
        media_type=OCI_INDEX, digest=space.store.blobs.put(data), size=len(data)
    )
    space.store.tag("docker.io/library/all:latest", descriptor)
    library = Library(space)
    digests = [item.digest for item, _ in library.manifests(library.named("all"))]
    assert digests == [*(image.descriptor.digest for image in images), descriptor.digest]


CONFIG = ContainerConfig(
    entrypoint=("entry", "-x"), cmd=("cmd",), env=("A=image", "PATH=/p", "bad")
)


@pytest.mark.parametrize(
    ("wish", "argv"),
    [
        (Wish(), ("entry", "-x", "cmd")),
        (Wish(command=("mine",)), ("entry", "-x", "mine")),
        (Wish(entrypoint=("other",)), ("other",)),
        (Wish(entrypoint=("other",), command=("mine",)), ("other", "mine")),
        (Wish(entrypoint=(), command=("mine",)), ("mine",)),
    ],
)
def test_entrypoint_and_cmd(wish, argv):
    assert container.argv(CONFIG, wish) == argv


def test_no_command_at_all():
    with pytest.raises(UsageError, match="names no command"):
        container.argv(ContainerConfig(), Wish())
    with pytest.raises(UsageError, match="names no command"):
        container.argv(CONFIG, Wish(entrypoint=()))


def test_the_environment_is_the_images_then_the_callers():
    found = container.environment(CONFIG, Wish(env={"A": "mine", "B": ""}, hostname="box"))
    assert found == {"PATH": "/p", "HOSTNAME": "box", "A": "mine", "B": ""}
    assert container.environment(ContainerConfig(), Wish())["PATH"] == container.DEFAULT_PATH


def test_one_no_is_enough():
    fine = Finding(name="a", verdict="ok", text="")
    warned = Finding(name="b", verdict="warn", text="", fix="mend")
    assert checkup.can_build([fine, warned])
    assert not checkup.can_build([fine, Finding(name="c", verdict="no", text="", fix="mend")])


@pytest.mark.parametrize(
    ("release", "verdict"),
    [("5.12.9-x", "warn"), ("5.13.0", "ok"), ("6.1.0-deb", "ok"), ("x", "ok")],
)
def test_kernels(monkeypatch, release, verdict):
    told = os.uname_result(("Linux", "host", release, "#1", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: told)
    assert checkup.kernel().verdict == verdict


def test_a_host_without_fuse_is_told_how_to_get_it():
    lacking = Host(tier="T3", fuse=False, reason="ok; base: there is no /dev/fuse")
    found = checkup.fuse(lacking)
    assert (found.verdict, "no /dev/fuse" in found.text, "/dev/fuse" in found.fix) == (
        "warn",
        True,
        True,
    )


def test_a_host_that_cannot_build_says_why_and_what_to_do(monkeypatch, tmp_path):
    def refuse(_root):
        raise HostError("no namespaces", hint="sudo make-them")

    monkeypatch.setattr("lazybuild.executor.ladder.probe", refuse)
    found = checkup.findings(tmp_path)
    assert found[0] == Finding(
        name="tier", verdict="no", text="no namespaces", fix="sudo make-them"
    )
    assert not checkup.can_build(found)


@pytest.mark.parametrize("magic", ground.SLOW_OR_UNSAFE)
def test_file_systems_that_are_no_place_for_a_store(monkeypatch, tmp_path, magic):
    monkeypatch.setattr(ground, "_magic", lambda _root: magic)
    found = next(iter(ground.findings(tmp_path)))
    assert (found.verdict, "--root" in found.fix) == ("warn", True)


def test_a_slow_place_is_told_with_its_measure(monkeypatch, tmp_path):
    monkeypatch.setattr(ground, "_magic", lambda _root: 0)
    monkeypatch.setattr(ground, "speed", lambda _root: 3e6)
    found = next(iter(ground.findings(tmp_path)))
    assert (found.verdict, "3 MB/s" in found.text) == ("warn", True)


def test_a_full_place_is_told_too(monkeypatch, tmp_path):
    def full(_root):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ground, "speed", full)
    assert "No space left" in next(iter(ground.findings(tmp_path))).text


@pytest.mark.parametrize(("magic", "count"), [(0x6969, 1), (0xFF534D42, 1), (0, 0)])
def test_a_build_on_a_shared_file_system_says_so_once(monkeypatch, tmp_path, magic, count):
    monkeypatch.setattr(ground, "_magic", lambda _root: magic)
    told = []
    with Space(
        root=tmp_path / "s", config=RegistryConfig(), sink=told.append, stop=threading.Event()
    ):
        pass
    assert len([event for event in told if isinstance(event, Warned)]) == count


def test_a_store_without_setuid(monkeypatch, tmp_path):
    true = os.statvfs(tmp_path)
    told = os.statvfs_result((*true[:8], true.f_flag | os.ST_NOSUID, true[9]))
    monkeypatch.setattr(os, "statvfs", lambda _path: told)
    assert "setuid" in {finding.name for finding in ground.findings(tmp_path)}


@pytest.mark.parametrize(
    ("lacks", "name", "fix"),
    [({"ids": "one"}, "ids", "--add-subuids"), ({"pids": False}, "proc", "systempaths=unconfined")],
)
def test_lesser_rungs_are_warned_of_with_a_remedy(monkeypatch, tmp_path, lacks, name, fix):
    host = described(**{"ids": "all", **lacks})
    monkeypatch.setattr("lazybuild.executor.ladder.probe", lambda root: host)
    found = {finding.name: finding for finding in checkup.ladder_findings(tmp_path)}
    assert found[name].verdict == "warn"
    assert fix in found[name].fix
    assert checkup.can_build(list(found.values()))


def test_ids_that_cannot_be_mapped_are_found_in_a_child(monkeypatch):
    def refuse(_host):
        raise HostError("newuidmap failed", hint="chmod u+s")

    monkeypatch.setattr("lazybuild.executor.ladder.enter", refuse)
    host = Host(tier="T1", fuse=True, reason="")
    found = checkup.entered(host)
    assert (found.verdict, found.text, found.fix) == ("no", "newuidmap failed", "chmod u+s")


def test_a_trial_that_breaks_is_no_success(monkeypatch):
    def broken(_host):
        raise RuntimeError("a bug")

    monkeypatch.setattr("lazybuild.executor.ladder.enter", broken)
    found = checkup.entered(Host(tier="T1", fuse=True, reason=""))
    assert (found.verdict, found.text) == ("no", "the trial died")

"""The tiers in containers of a real Docker: its default seccomp profile and capabilities (T6), with
the profile that is shipped (T4, T3), as another user, and with more.
"""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.moby import Moby

pytestmark = pytest.mark.root
PROFILE = Path(__file__).parents[2] / "contrib/seccomp-lazybuild.json"


@pytest.fixture(scope="module")
def machine(moby, registry):
    """An image with nothing of its own: /usr is the host's."""
    root = moby.shared / "machine/root"
    for name in ("usr", "etc", "tmp", "dev", "proc", "sys", "var/tmp"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "tmp").chmod(0o1777)
    (root / "var/tmp").chmod(0o1777)
    (root.parent / "Dockerfile").write_text("FROM scratch\nCOPY root /\n")
    name = f"{registry.host}/machine:1"
    moby.build(root.parent, "--push", "-t", name)
    return name


@pytest.fixture
def context(moby, base, request):
    """A context; what is built in it comes back as `x.tar` beside the Dockerfile."""
    place = moby.shared / request.node.name.replace("[", "-").replace("]", "")
    place.mkdir()
    place.chmod(0o777)
    (place / "Dockerfile").write_text(
        f"FROM {base}\nRUN mkdir -p /d/e && echo one > /d/e/f && chown 7:8 /d/e/f && ln -s f /d/l\n"
        "COPY Dockerfile /copied\n"
        "RUN --mount=type=cache,target=/c echo two >> /d/e/f && rm /d/l && touch /c/x; id -u\n"
        "USER 1000\nRUN id -u > /tmp/who\n"
    )
    return place


@dataclass(frozen=True)
class Containers:
    """Where builds run: each in a container of its own, which is gone afterwards."""

    moby: Moby
    image: str
    profile: str

    def build(self, context, *flags, check=True):
        here = f"/shared/{context.name}"
        words = ("-m", "lazybuild", "build", "--root", "/var/tmp/store", "--progress", "plain")
        out = ("-t", "x", "-o", f"type=tar,dest={here}/x.tar", here)
        return self.moby.contain(self.image, *words, *out, flags=flags, check=check)

    def doctor(self, *flags):
        """(exit code, verdicts by name)"""
        words = ("-m", "lazybuild", "doctor", "--json", "--root", "/var/tmp/store")
        run = self.moby.contain(self.image, *words, flags=flags, check=False)
        found = json.loads(run.stdout)
        assert [it for it in found if it["verdict"] != "ok" and not it["fix"]] == []
        return run.returncode, {it["name"]: it["verdict"] for it in found}


@pytest.fixture(scope="module")
def containers(moby, machine):
    (moby.shared / "profile.json").write_text(PROFILE.read_text())
    there = moby.there(moby.shared / "profile.json")
    return Containers(moby=moby, image=machine, profile=f"--security-opt=seccomp={there}")


def holds_all(context):
    with tarfile.open(context / "x.tar") as tar:
        assert tar.extractfile("d/e/f").read() == b"one\ntwo\n"
        assert tar.extractfile("tmp/who").read() == b"1000\n"
        assert (tar.getmember("d/e/f").uid, tar.getmember("d/e/f").gid) == (7, 8)
        assert "d/l" not in tar.getnames()
        assert "copied" in tar.getnames()


def test_dockers_default_profile_and_capabilities(containers, context):
    run = containers.build(context)
    assert "tier T6: no namespaces (the container around this process refuses" in run.stderr
    holds_all(context)


PROC = "--security-opt=systempaths=unconfined"
VOLUME = "--volume=/var/tmp"
FUSE = "--device=/dev/fuse"


@pytest.mark.parametrize(
    ("flags", "tier"),
    [
        ((), "T4"),  # the store lies on the container's own overlay
        ((VOLUME,), "T3"),
        ((VOLUME, FUSE), "T2"),
        ((VOLUME, FUSE, PROC), "T1"),
        ((VOLUME, FUSE, PROC, "--user=1000"), "T5"),
        (("--user=1000",), "T5"),
    ],
)
def test_the_profile_that_is_shipped(containers, context, flags, tier):
    run = containers.build(context, containers.profile, *flags)
    assert f"tier {tier}: user namespace" in run.stderr
    holds_all(context)


def test_a_plain_user_in_a_default_container(containers, context):
    refused = containers.build(context, "--user=1000", check=False)
    assert refused.returncode == 125
    for way in ("three ways out", "contrib/seccomp-lazybuild.json", "(T6)", "--builder"):
        assert way in refused.stderr
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    assert containers.build(context, "--user=1000").returncode == 0


def test_the_doctor_in_a_container(containers):
    code, found = containers.doctor()
    assert (code, found["tier"], found["chroot"], found["store"]) == (0, "ok", "warn", "warn")
    assert "fuse" not in found
    code, found = containers.doctor("--user=1000")
    assert (code, found["tier"]) == (1, "no")
    code, found = containers.doctor("--user=1000", containers.profile)
    assert (code, found["ids"], found["proc"], found["overlay"]) == (0, "warn", "warn", "warn")

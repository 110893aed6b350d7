"""T4 and T6: nothing can stack layers, so each step works on a copy of its whole file system.

T6 needs a root. It is had here with the privileges of Docker's containers, and in a container of a
real Docker in tests/buildkit.
"""

import os
import re
import subprocess
import tarfile

import pytest
from support.building import Builder, processes, settled
from support.inside import can_confine, swept

pytestmark = pytest.mark.rootless
ROOT = os.getuid() == 0
EPOCH = ("--source-date-epoch", "1700000000")
TIERS = ["T4", pytest.param("T6", marks=pytest.mark.root)]


class Copying(Builder):
    """Builds on one of the tiers; T6 where there is nothing better."""

    def __init__(self, folder, tier):
        super().__init__(folder, place="docker" if tier == "T6" else "")
        self.flags = () if tier == "T6" else ("--isolation", tier)

    def build(self, files, *flags, expect=0):
        return super().build(files, *self.flags, *flags, expect=expect)


@pytest.fixture(params=TIERS)
def tier(request):
    return request.param


@pytest.fixture
def builder(tmp_path, tier):
    yield Copying(tmp_path / "copies", tier)
    swept(tmp_path / "copies")


@pytest.fixture
def usual(tmp_path):
    yield Builder(tmp_path / "usual")
    swept(tmp_path / "usual")


def whole(path):
    """What an image's file system holds."""
    with tarfile.open(path) as tar:
        return {it.name: _told(tar, it) for it in tar}


def _told(tar, member):
    data = tar.extractfile(member).read() if member.isreg() else b""
    link = member.linkname if member.issym() else ""
    kind = tarfile.REGTYPE if member.islnk() else member.type
    return kind, member.mode, member.uid, member.gid, link, data


IMAGE = """\
RUN mkdir -p /d/e && echo a > /d/a && echo b > /d/e/b && ln -s a /d/l && ln /d/a /d/h && mkfifo /d/p
RUN echo more >> /d/e/b && chown 7:8 /d/e/b && chmod 4750 /d/e/b && chown -h 5:6 /d/l
RUN touch -r /bin/sh /d/new && mv /d/e /moved && rm -r /home/alice
RUN rm -r /d && mkdir /d && echo again > /d/a
COPY --chown=1:2 one /one
RUN echo x >> /one && rm /moved/b && ln /one /two && chown daemon /bin/sh
USER alice
RUN echo mine > /tmp/mine
USER root
RUN true
"""


def test_the_image_is_the_one_that_overlay_gives(base, builder, usual, tmp_path, tier):
    files = {"Dockerfile": f"FROM {base}\n{IMAGE}", "one": "1\n"}
    wanted = usual.build(files, *EPOCH, "-o", f"type=tar,dest={tmp_path}/u", "-t", "x")
    out = f"type=tar,dest={tmp_path}/c"
    found = builder.build(files, *EPOCH, "-o", out, "-t", "x")
    assert found.stats["tier"] == tier
    assert "each step works on a copy" in found.err
    assert wanted.stats["tier"] != tier
    assert whole(tmp_path / "c") == whole(tmp_path / "u")
    assert settled(builder.leftovers) == []
    again = builder.build(files, *EPOCH, "-o", out, "-t", "x")
    assert again.digest == found.digest
    assert again.stats["tier"] == "T0"


def test_what_a_step_has_besides_its_image_is_there_and_leaves_nothing(base, builder, tmp_path):
    (tmp_path / "secret").write_text("hush")
    mounts = "--mount=type=cache,target=/c --mount=type=secret,id=s --mount=type=tmpfs,target=/t/u"
    files = {
        "Dockerfile": f"FROM {base} AS other\nRUN mkdir /from && echo there > /from/x\n"
        f"FROM {base}\n"
        f"RUN {mounts} --mount=type=bind,from=other,source=from,target=/b --mount=target=/ctx"
        " cat /run/secrets/s /b/x /ctx/Dockerfile > /seen && echo 1 >> /c/n && touch /t/u/x"
        " && cat /etc/resolv.conf /etc/hosts >> /seen && grep $(hostname) /etc/hosts"
        " && echo to-stderr > /dev/stderr"
        " && echo gone > /dev/null && test -s /dev/null || cat /dev/null && head -c 3 /dev/zero\n"
        "RUN --mount=type=cache,target=/c echo 2 >> /c/n && cat /c/n && ls /run /t; true\n"
    }
    flags = ("--secret", f"id=s,src={tmp_path}/secret", "--progress", "plain")
    run = builder.build(files, *flags, "-t", "x", "-o", f"type=tar,dest={tmp_path}/x")
    found = whole(tmp_path / "x")
    seen = found["seen"][-1].decode()
    assert seen.startswith("hushthere\nFROM")
    assert "localhost" in seen
    assert "to-stderr" in run.err
    assert re.search(r" 1\n.* 2\n", run.err)
    absent = [name for name in found if name.split("/")[0] in ("c", "t", "b", "ctx")]
    assert absent == []
    assert {"run/secrets", "dev/null", "etc/resolv.conf"} & found.keys() == set()
    assert settled(builder.leftovers) == []


def test_steps_of_branches_do_not_see_one_another(base, builder, tmp_path):
    files = {
        "Dockerfile": f"FROM {base} AS one\nRUN echo 1 > /f\nRUN echo 1 >> /f\n"
        f"FROM {base} AS two\nRUN echo 2 > /f && test ! -e /three\nRUN echo 2 >> /f\n"
        "FROM one\nRUN echo 3 >> /f\nCOPY --from=two /f /g\nRUN cat /f /g > /all\n"
    }
    builder.build(files, "-t", "x", "-o", f"type=tar,dest={tmp_path}/x")
    assert whole(tmp_path / "x")["all"][-1] == b"1\n1\n3\n2\n2\n"


def test_a_failing_step_fails_and_leaves_nothing(base, builder, tier):
    files = {"Dockerfile": f"FROM {base}\nRUN echo x > /f; (sleep 98765 &); exit 7\n"}
    run = builder.build(files, "-t", "x", expect=1)
    assert "exit code: 7" in run.err
    assert ("steps have no /proc" in run.err) == (tier == "T6")
    assert settled(builder.leftovers) == []
    assert settled(lambda: list((builder.root / "tmp").iterdir())) == []


def test_an_image_of_plain_layers_with_whiteouts(base, builder, usual, tmp_path, registry):
    """Its layers have no table of contents: what removes names is in their tars only."""
    name = f"{registry.host}/plain:1"
    files = {
        "Dockerfile": f"FROM {base}\nRUN mkdir /d && touch /d/a /d/b /gone && mkdir /o /o/p\n"
        "RUN rm /gone /d/a && rm -r /o && mkdir /o && touch /o/new\n"
    }
    usual.build(files, "-t", name, "-o", f"type=registry,name={name},compression=gzip")
    files = {
        "Dockerfile": f"FROM {name}\nRUN ls -d /d/* /o/* /gone > /found; true\n"
        f"COPY --from={name} /o /o2\n"
    }
    builder.build(files, "-t", "x", "-o", f"type=tar,dest={tmp_path}/x")
    found = whole(tmp_path / "x")
    assert sorted(found["found"][-1].decode().split()) == ["/d/b", "/o/new"]
    assert "o2/new" in found


def test_a_builder_that_is_killed_leaves_no_process(base, builder):
    files = {
        "Dockerfile": f"FROM {base}\nRUN MARK=left-in-copies sh -c 'echo begun; sleep 98765'\n"
    }
    flags = (*builder.flags, "--progress", "plain")
    process = builder.started(files, *flags, until=" begun")
    assert list(processes("left-in-copies"))
    process.kill()
    process.communicate()
    assert settled(lambda: list(processes("left-in-copies"))) == []


# --- no namespaces -------------------------------------------------------------------------------


@pytest.fixture
def chrooted(tmp_path):
    yield Copying(tmp_path / "copies", "T6")
    swept(tmp_path / "copies")


@pytest.mark.root
@pytest.mark.skipif(not can_confine(), reason="not run: needs Landlock of Linux 6.12")
def test_a_step_in_a_chroot_reaches_nothing_around_it(base, chrooted, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("CANARY")
    victim = subprocess.Popen(["sleep", "60"])
    escape = "mkdir -p /x; perl -e 'chroot(q(/x)) or print qq(no chroot: $!\\n)'"
    script = (
        f"cat {canary}; kill -9 {victim.pid} && echo killed; kill -9 -1; echo alone; {escape};"
        f" perl -e 'syscall(101, 16, {victim.pid}, 0, 0) == 0 and print q(traced); print qq(\\n)';"
        " perl -e 'syscall(272, 0x10000000) == 0 and print q(unshared); print qq(\\n)';"
        ' for fd in 3 4 5 6 7 8 9; do eval "true <&$fd" 2>/dev/null && echo fd $fd; done; env'
    )
    files = {"Dockerfile": f"FROM {base}\nRUN {script}; true\nRUN echo went on\n"}
    try:
        run = chrooted.build(files, "-t", "x", "--progress", "plain")
        said = "".join(line.partition(" ")[2] for line in run.err.splitlines(keepends=True))
        assert "no chroot: Operation not permitted" in said
        assert "alone" in said
        assert "went on" in said
        for word in (" killed", " traced", " unshared", " fd ", " CANARY", "LAZYBUILD_ROOT"):
            assert word not in re.sub(r"RUN .*", "", said)
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


@pytest.mark.root
def test_a_step_that_lays_links_where_its_mounts_were_harms_nothing_around(
    base, chrooted, tmp_path
):
    canary = tmp_path / "around/resolv.conf"
    canary.parent.mkdir()
    canary.write_text("CANARY")
    files = {
        "Dockerfile": f"FROM {base}\nRUN --mount=type=cache,target=/c rm -rf /etc/resolv.conf /c"
        f" && mv /etc /etc2 && ln -s {canary.parent} /etc && ln -s {tmp_path} /c; true\n"
        "RUN --mount=type=cache,target=/c touch /c/x\n"
    }
    chrooted.build(files, "-t", "x")
    assert canary.read_text() == "CANARY"
    assert sorted(it.name for it in tmp_path.iterdir()) == ["around", "copies"]
    assert [it for it in (chrooted.root / "cache-mounts").iterdir() if it.is_symlink()] == []


@pytest.mark.root
def test_what_needs_namespaces_is_refused(base, chrooted, tmp_path):
    files = {"Dockerfile": f"FROM {base}\nRUN --network=none true\n"}
    assert "without network needs namespaces" in chrooted.build(files, expect=125).err
    words = ("run", "-v", f"{tmp_path}:/x", base, "true")
    assert "can't be mounted where nothing can" in chrooted.run(*words, expect=125).err
    assert "nothing can be mounted here" in chrooted.run("mount", base, tmp_path, expect=125).err
    assert chrooted.run("run", base, "sh", "-c", "echo ran").out == "ran\n"


@pytest.mark.skipif(ROOT, reason="root has T6")
def test_a_plain_user_without_namespaces_is_told_three_ways_out(base, tmp_path):
    builder = Builder(tmp_path, place="docker")
    refused = builder.build({"Dockerfile": f"FROM {base}\nRUN true\n"}, expect=125)
    assert "refuses namespaces by its seccomp filter" in refused.err
    for way in ("contrib/seccomp-lazybuild.json", "(T6)", "--builder"):
        assert way in refused.err
    copied = {"Dockerfile": f"FROM {base}\nCOPY Dockerfile /\n"}
    assert builder.build(copied, "-t", "x").stats["tier"] == "T0"


def ordered(run):
    """What came first in each new layer, and why; what of the base was fetched by a profile."""
    return [
        (item["files"], item["bytes"], item["from"])
        for item in run.stats["prefetch"]
        if "profile" not in item["from"]
    ]


def test_what_steps_open_comes_first_in_layers_and_is_known_of_the_base(base, builder, usual):
    files = {
        "Dockerfile": f"FROM {base}\nRUN mkdir /d && echo a > /d/a && echo zz > /d/z\n"
        "COPY Dockerfile /d/c\nRUN cat /d/z /bin/perl /d/c > /d/new && cat /d/new > /dev/null\n"
    }
    found = builder.build(files, *EPOCH, "-t", "x")
    assert "access profile" in found.err
    assert ordered(found) == [(1, 3, ["run"]), (1, len(files["Dockerfile"]), ["run"]), (0, 0, [])]
    wanted = usual.build(files, *EPOCH, "-t", "x")
    assert "access profile of" in wanted.err
    assert [it for it in wanted.stats["prefetch"] if "profile" in it["from"]]
    assert ordered(wanted) == ordered(found)


def test_what_an_overlaid_build_saw_of_the_base_is_not_guessed_again(base, builder, usual):
    files = {"Dockerfile": f"FROM {base}\nRUN cat /bin/perl | head -c 7 > /head\n"}
    assert re.search("access profile .* pushed", usual.build(files, "-t", "x").err)
    assert "pushed" not in builder.build(files, "-t", "x").err


def test_what_could_not_be_seen_is_told(base, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import lazybuild.linux.opens as opens\nopens.MAX_DIRECTORIES = 1\n"
    )
    builder = Copying(tmp_path / "copies", "T4")
    builder.environment["PYTHONPATH"] += f":{tmp_path}"
    told = builder.build({"Dockerfile": f"FROM {base}\nRUN cat /bin/perl > /x\n"}, "-t", "x").err
    assert "opens were seen, so some are not in order: there are more than 1 directories" in told
    swept(tmp_path / "copies")

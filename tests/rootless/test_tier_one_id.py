"""T5: a user without a range of ids. Owners are noted, so the image is that of any other tier."""

import os
import tarfile

import pytest
from support.building import Builder
from support.inside import swept
from support.stepdriver import started

pytestmark = pytest.mark.rootless
EPOCH = ("--source-date-epoch", "1700000000")


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with started(tmp_path_factory.mktemp("t5"), force="T5") as found:
        yield found


@pytest.fixture(scope="module")
def base(base, registry, tmp_path_factory):
    """An image with files of several owners."""
    files = {
        "Dockerfile": f"FROM {base}\n"
        "RUN mkdir /data && echo a > /data/a && echo b > /data/b && ln -s a /data/l"
        " && chown -R alice:staff /data && echo c > /data/root && chmod 4711 /data/b\n"
    }
    name = f"{registry.host}/owned:1"
    Builder(tmp_path_factory.mktemp("owned")).build(files, "-t", name, "--push")
    return name


@pytest.fixture
def many(tmp_path):
    """A builder of a user who has a range; what it leaves belongs to ids of it."""
    yield Builder(tmp_path / "many")
    swept(tmp_path / "many")


def single(folder, place="alone"):
    """A builder of a user who has one id."""
    return Builder(folder, place="" if os.getuid() == 0 else place)


def _about(member):
    return member.type, member.mode, member.uid, member.gid, member.linkname


def listing(path):
    with tarfile.open(path) as tar:
        return {
            member.name: (
                *_about(member),
                tar.extractfile(member).read() if member.isreg() else b"",
            )
            for member in tar
        }


def test_the_tier_says_what_it_does(driver):
    assert driver.host["tier"] == "T5"
    assert "owners are noted" in driver.host["reason"]


@pytest.mark.parametrize(
    "script",
    [
        "chown alice:staff {file}",
        "chown 4000000000 {file}",
        "chown -R daemon {folder}",
        "chown -h 5:6 {link}",
        "chown alice {fifo}",
        "chown alice /dev/stdout",
        "exec 5< {file}; perl -e 'open(F, q(+<), q({file})); chown(7, 8, *F) == 1 or die $!'",
        "perl -e 'my $f = q({file}); syscall(260, -100, $f, 1, 2, 0) == 0 or die $!'",
        "perl -e '$( = 50; $) = q(50 50 29); $< = 42; $> = 42; die $! if $! + 0'",
    ],
)
def test_calls_that_need_other_ids_succeed(driver, script):
    paths = {name: f"/tmp/{name}" for name in ("file", "folder", "link", "fifo")}
    make = "cd /tmp; touch file; mkdir -p folder/deep; ln -s file link; mkfifo fifo; "
    result = driver.sh(make + script.format(**paths))
    assert (result.status, result.err) == (0, "")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("chown alice /none", "No such file"),
        ("chown alice /tmp/loop", "symbolic links"),
        ("chown alice /sys/kernel", "Read-only"),
        ("perl -e 'chown(1, 2, \"x\" x 5000) == 1 or die $!'", "too long"),
        ("perl -e 'syscall(92, 4096, 1, 2) == 0 or die $!'", "Bad address"),
        ("perl -e 'syscall(93, 99, 1, 2) == 0 or die $!'", "Bad file descriptor"),
        ("perl -e 'my $f = q(x); syscall(260, 99, $f, 1, 2, 0) == 0 or die $!'", "Bad file desc"),
        ("mknod /bin/sh c 1 3", "exists"),
        ("mknod /none/x c 1 3", "No such file"),
    ],
)
def test_calls_that_would_fail_anywhere_fail(driver, script, error):
    result = driver.sh("ln -s loop /tmp/loop; " + script)
    assert result.status != 0
    assert error in result.err


def test_a_step_of_another_user_has_its_number_and_none_of_roots_capabilities(driver):
    result = driver.sh("id -u; id -g; grep CapEff /proc/self/status; chown root /tmp", user="alice")
    assert result.out.split()[:2] == ["1000", "1000"]
    assert result.out.split()[-1] == "0" * 16
    assert "not permitted" in result.err or "Invalid argument" in result.err


@pytest.mark.parametrize(
    "look",
    [
        "stat -c %u:%g /tmp/f",
        "stat -L -c %u:%g /tmp/l",
        "cd /tmp && stat -c %u:%g f",
        "stat -c %u:%g - < /tmp/f",
        "perl -e 'printf q(%d:%d), (stat(q(/tmp/f)))[4, 5]'",
        "perl -e 'printf q(%d:%d), (lstat(q(/tmp/f)))[4, 5]'",
        "perl -e 'open(F, q(/tmp/f)); printf q(%d:%d), (stat(F))[4, 5]'",
    ],
)
def test_a_step_sees_the_owners_that_were_noted(driver, look):
    result = driver.sh(f"cd /tmp; touch f; ln -s f l; chown 7:8 f; {look}")
    assert (result.out.strip(), result.err) == ("7:8", "")


def test_a_look_at_what_is_no_file_of_the_image_is_the_kernels(driver):
    script = (
        "stat -c %u /proc/self/fd/1 /proc/1; stat /none; perl -e 'my $b; "
        "syscall(5, 99, 4096) < 0 and print $! + 0; syscall(4, 4096, 4096) < 0 and print $! + 0'"
    )
    result = driver.sh(script)
    assert result.out.split() == ["0", "0", "914"]
    assert "No such file" in result.err


def test_limits_that_a_session_sets_do_not_change_who_it_is(driver):
    """As pam_limits does, for su and sudo."""
    limit = "my $l = pack(q(QQ), -1, -1); syscall(302, 0, 10, $l, 0) == 0 or die $!"
    look = "my $o = chr(0) x 16; syscall(302, 0, 10, 0, $o) == 0 or die $!"
    script = f"($<, $>) = (1000, 1000); {limit}; {look}; print $>; exec qw(id -u)"
    result = driver.sh(f"perl -e '$| = 1; {script}'")
    assert (result.out, result.err) == ("10001000\n", "")


def test_a_file_that_is_written_anew_with_its_owner_keeps_it(base, tmp_path):
    """As useradd, sed -i and cp -p do it."""
    files = {
        "Dockerfile": f"FROM {base}\nRUN cp -p /data/a /data/new && echo x >> /data/new"
        " && mv /data/new /data/a\nRUN cp /data/a /data/plain\n"
    }
    flags = ("--isolation", "T5", "-t", "x", "-o", f"type=tar,dest={tmp_path}/x.tar")
    Builder(tmp_path).build(files, *flags)
    found = listing(tmp_path / "x.tar")
    assert found["data/a"][2:4] == (1000, 50)
    assert found["data/plain"][2:4] == (0, 0)


def test_many_processes_that_call_at_once_are_all_answered(driver):
    work = "for i in 1 2 3 4 5 6 7 8 9; do touch /tmp/$1.$i; chown $i:$1 /tmp/$1.$i; done"
    script = f"f() {{ {work}; }}; for p in 1 2 3 4 5 6 7 8; do f $p & done; wait"
    result = driver.sh(script)
    assert (result.status, result.err) == (0, "")
    assert result.seconds < 20


def test_a_caller_that_is_killed_while_it_waits_harms_nobody(driver):
    script = (
        "for i in 1 2 3 4 5 6 7 8 9 10; do (chown -R alice /bin; :) & kill -9 $!; done; wait;"
        " touch /tmp/z && chown alice /tmp/z"
    )
    assert driver.sh(script).status == 0


def test_no_chown_of_a_step_leaves_its_root(driver, tmp_path):
    canary = tmp_path / "canary"
    canary.touch()
    tmp_path.chmod(0o755)
    result = driver.sh(
        f"ln -s {canary} /tmp/out; chown alice /tmp/out; chown alice ../../../../{canary};"
        f" mkdir -p /tmp/in/{tmp_path}; touch /tmp/in/{canary}; cd /tmp/in;"
        f" chown 77 ../../{canary};"
        " mknod ../../../../../../../../up c 1 3; chown alice /proc/1/root; true"
    )
    assert "No such file" in result.err
    assert "up" in result.upper
    assert os.listxattr(canary) == []


IMAGE = """\
RUN chown -R alice:alice /home/alice && touch /f && chown alice:staff /f
RUN mkdir /d && touch /d/x && ln -s x /d/l && mkfifo /d/p && chown -R 7:8 /d && ln -s x /d/root
RUN echo more >> /data/a && chmod 600 /data/b && rm /data/root && chown 0:0 /data/b
RUN mv /data/a /data/moved && cp -a /data/moved /copy && ln /f /hard
COPY --chown=alice:staff one /one
RUN echo x >> /one && chmod 4755 /one && chown daemon /one
USER alice
RUN mkdir /home/alice/w && echo a > /home/alice/w/f && ln -s f /home/alice/w/l && echo a > /tmp/t
USER 3000000000:44
RUN echo a > /tmp/big
USER root
RUN chmod u+s,g+s /usr && chown :50 /usr && touch /capable
RUN mv /d/l /moved && mv /d/p /d/q && rm /d/root && ln -s y /d/root && ln -s z /d/l && mv -T /d /e
RUN mkdir -p /sg/sub /etc/apt/apt.conf.d && chown 3:50 /sg && chmod 2775 /sg
RUN touch /sg/f /sg/sub/f && mkdir /sg/d && ln -s x /sg/l && mv /sg/sub/f /sg/moved
RUN perl -e '{become}; {make}; exec qw(/bin/sh -c), q({script})' && touch /as-root && id > /id
RUN perl -e '{become}; print qq($<.$>.); $> = 0; print qq($>.); $) = 0; print $)' > /ids
RUN perl -e 'print qq($<.$>.) for ($> = 1000, $> = 0, $< = 7, $> = 9, $> = 0)' > /more-ids
USER root:staff
RUN id > /tmp/id-staff && touch /tmp/of-staff && perl -e '{become}; mkdir q(/tmp/by-staff)'
"""
BECOME = "$) = q(50 50 29); $( = 50; ($<, $>) = (1000, 1000)"
MAKE = "open(F, q(>/tmp/su)) or die $!; mkdir q(/tmp/su.d); symlink q(x), q(/tmp/su.l)"
SCRIPT = """id > /tmp/su.id; mkfifo /tmp/su.p; (touch /tmp/su.child; mkdir -p /tmp/su.d/e);
echo a > /tmp/x; mv /tmp/x /tmp/su.d/y; mv /tmp/su.l /tmp/su.d/l; cp -p /copy /tmp/su.copy;
rm -f /tmp/su; chown 0 /tmp/su.id || echo no > /tmp/su.no; chown :29 /tmp/su.id;
ln -s l /tmp/su.m""".replace("\n", " ")
for name, text in (("become", BECOME), ("make", MAKE), ("script", SCRIPT)):
    IMAGE = IMAGE.replace("{" + name + "}", text)


@pytest.mark.parametrize("place", ["alone", "no-fuse"])
def test_the_image_is_the_one_that_a_range_gives(base, tmp_path, many, place):
    """Layer by layer and byte by byte."""
    files = {"Dockerfile": f"FROM {base}\n{IMAGE}".replace("3000000000", "30000"), "one": "1\n"}
    out = ("-t", "x", *EPOCH, "-o")
    one = single(tmp_path / "one", place)
    wanted = many.build(files, *out, f"type=tar,dest={tmp_path}/many.tar")
    flags = ("--isolation", "T5") if os.getuid() == 0 else ()
    found = one.build(files, *out, f"type=tar,dest={tmp_path}/one.tar", *flags)
    assert "tier T5: user namespace with one id" in found.err
    assert found.stats["tier"] == "T5"
    assert listing(tmp_path / "one.tar") == listing(tmp_path / "many.tar")
    assert found.digest == wanted.digest
    again = one.build(files, *out, f"type=tar,dest={tmp_path}/again.tar", *flags)
    assert again.digest == found.digest
    assert again.stats["tier"] == "T0" or all(
        step["cached"] for step in again.stats["steps"] if "RUN" in step["name"]
    )


def test_devices_and_ids_beyond_every_range_are_in_the_image(base, tmp_path):
    files = {
        "Dockerfile": f"FROM {base}\nRUN umask 027 && mknod /null c 1 3 && mknod /disk b 8 300\n"
        "RUN touch /far && chown 4000000000:4000000001 /far\nRUN chown alice /null\n"
    }
    builder = Builder(tmp_path)
    flags = ("--isolation", "T5", "-t", "x", "-o", f"type=tar,dest={tmp_path}/x.tar")
    builder.build(files, *flags)
    with tarfile.open(tmp_path / "x.tar") as tar:
        null, disk = tar.getmember("null"), tar.getmember("disk")
        far = tar.getmember("far")
    assert (null.type, null.devmajor, null.devminor, null.mode) == (tarfile.CHRTYPE, 1, 3, 0o640)
    assert (disk.type, disk.devmajor, disk.devminor) == (tarfile.BLKTYPE, 8, 300)
    assert (far.uid, far.gid, null.uid) == (4000000000, 4000000001, 1000)


def test_secrets_caches_and_agents_need_no_second_id(base, tmp_path):
    (tmp_path / "secret").write_text("hush")
    files = {
        "Dockerfile": f"FROM {base}\nUSER alice\n"
        "RUN --mount=type=secret,id=s,uid=1000 --mount=type=cache,target=/c,uid=1000"
        " cat /run/secrets/s > /tmp/seen && echo a > /c/a\n"
        "RUN --mount=type=cache,target=/c,uid=1000 cat /c/a\n"
        "RUN --mount=type=bind,from=0,target=/x true\n".replace("from=0", f"from={base}")
    }
    run = single(tmp_path).build(files, "-t", "x", "--secret", f"id=s,src={tmp_path}/secret")
    assert run.code == 0


def test_a_store_is_for_one_kind_of_owners(base, tmp_path):
    builder = Builder(tmp_path)
    files = {"Dockerfile": f"FROM {base}\nRUN touch /a\n"}
    builder.build(files, "--isolation", "T5", "-t", "x")
    files["Dockerfile"] += "RUN touch /b\n"
    if os.getuid():
        refused = builder.build(files, "-t", "x", expect=125)
        assert "were made with one user id" in refused.err
        assert "--root" in refused.err
    assert builder.build(files, "--isolation", "T5", "-t", "x").code == 0


@pytest.mark.skipif(os.getuid() == 0, reason="root needs no range")
def test_a_range_that_is_broken_is_an_error_and_not_one_id(base, tmp_path):
    helper = tmp_path / "bin/newuidmap"
    helper.parent.mkdir()
    helper.write_text("#!/bin/sh\nexit 1\n")
    helper.chmod(0o755)
    path = f"{helper.parent}:{os.environ['PATH']}"
    files = {"Dockerfile": f"FROM {base}\nRUN touch /a\n"}
    run = Builder(tmp_path, PATH=path).build(files, expect=125)
    assert "newuidmap failed" in run.err
    assert "--isolation T5" in run.err


def test_a_step_with_a_range_cannot_note_owners(base, builder):
    """There the kernel says whose a file is, and a note is only an attribute of no image."""
    files = {
        "Dockerfile": f"FROM {base}\nRUN touch /f && perl -e 'my ($f, $k, $v) = qw(/f"
        " user.lazybuild.owner 7:7); syscall(188, $f, $k, $v, 3, 0) == 0 or die $!'\n"
    }
    tar = builder.folder / "x.tar"
    builder.build(files, "-t", "x", "-o", f"type=tar,dest={tar}")
    assert listing(tar)["f"][2:4] == (0, 0)

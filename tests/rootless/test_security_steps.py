"""Steps that attack what is around them, and files of images and contexts that lie about sizes."""

import gzip
import io
import platform
import tarfile
import time

import pytest

pytestmark = [pytest.mark.rootless, pytest.mark.usefixtures("canary")]

MOUNTING, UMOUNTING, TRACING = (40, 39, 117) if platform.machine() == "aarch64" else (165, 166, 101)
CALL = "perl -e '$r = syscall({}); print qq(did: $!\\n); exit($r < 0)'"
MOUNT = CALL.format(f"{MOUNTING}, $ARGV[1], $ARGV[0], $ARGV[1], 0, 0")
UMOUNT = CALL.format(f"{UMOUNTING}, $ARGV[0], 2")
TRACE = CALL.format(f"{TRACING}, 16, $ARGV[0] + 0, 0, 0")


def either(builder, files, *flags):
    """Whether a build succeeds is not the point; that it ends well is."""
    context = builder.context(files) if isinstance(files, dict) else files
    run = builder.run("build", "-t", "x", *flags, context, expect=None)
    assert run.code in {0, 1}, run.err
    assert "Traceback" not in run.err
    return run


@pytest.mark.parametrize(
    "attack",
    [
        "echo b > /proc/sysrq-trigger",
        f"{UMOUNT} /proc; {UMOUNT} /dev; {UMOUNT} /",
        f"{MOUNT} /tmp tmpfs",
        "echo 1 > /proc/sys/kernel/panic",
        "echo x > /proc/1/oom_score_adj; kill -9 1; kill -STOP 1",
        "echo core > /proc/sys/kernel/core_pattern",
        "ls /proc/1/root/; cat /proc/1/root{outside}/canary",
        "rm -rf /dev/* /proc/* /sys/* 2>/dev/null; :",
        "exec 0<&- 1>&- 2>&-; echo",
    ],
)
def test_a_step_can_hurt_only_itself(builder, base, attack):
    attack = attack.replace("{outside}", str(builder.folder / "outside"))
    run = either(builder, {"Dockerfile": f"FROM {base}\nRUN {attack}\n"})
    assert "do not read" not in run.err
    builder.build({"Dockerfile": f"FROM {base}\nRUN echo ok > /ok\n"}, "-t", "y")


def test_a_step_that_kills_all_that_it_sees_harms_nobody_else(builder, base):
    either(builder, {"Dockerfile": f"FROM {base}\nRUN kill -9 -1\n"})
    builder.build({"Dockerfile": f"FROM {base}\nRUN echo ok > /ok\n"}, "-t", "y")


@pytest.mark.parametrize("attack", [f"{MOUNT} /tmp tmpfs", f"{UMOUNT} /proc", f"{TRACE} 1"])
def test_the_host_can_be_neither_mounted_nor_traced(builder, base, attack):
    run = builder.build({"Dockerfile": f"FROM {base}\nRUN {attack}\n"}, "-t", "x", expect=1)
    assert "did: Operation not permitted" in run.err


@pytest.mark.parametrize("kind", ["pipe", "link", "large", "binary"])
def test_a_hostile_passwd_is_bounded(builder, base, kind):
    context = builder.context({"Dockerfile": f"FROM {base}\nADD bad.tar /\n"})
    member = tarfile.TarInfo("etc/passwd")
    data = {"large": b"a" * (11 << 20), "binary": bytes(range(256)) * 4}.get(kind, b"")
    member.type = {"pipe": tarfile.FIFOTYPE, "link": tarfile.SYMTYPE}.get(kind, tarfile.REGTYPE)
    member.linkname = str(builder.folder / "outside/canary")
    member.size = len(data)
    with tarfile.open(context / "bad.tar", "w") as tar:
        tar.addfile(member, io.BytesIO(data))
    builder.build(context, "-t", "hostile")
    begun = time.monotonic()
    for user in ("somebody", "1234"):
        run = either(builder, {"Dockerfile": f"FROM hostile\nUSER {user}\nRUN echo > /tmp/by\n"})
        assert "do not read" not in run.err
    assert time.monotonic() - begun < 20


def test_a_dockerfile_that_leads_out_of_its_context_is_not_shown(builder):
    context = builder.context({"f": "text"})
    (context / "Dockerfile").symlink_to(builder.folder / "outside/canary")
    run = builder.build(context, expect=2)
    assert "leads out of the context" in run.err
    assert "do not read" not in run.err


def test_a_dockerfile_may_be_a_link_within_its_context_and_one_outside_may_be_named(builder):
    context = builder.context({"f": "text", "docker/main": "FROM scratch\nCOPY f /f\n"})
    (context / "Dockerfile").symlink_to("docker/main")
    builder.build(context, "-t", "x")
    elsewhere = builder.folder / "Dockerfile.elsewhere"
    elsewhere.write_text("FROM scratch\nCOPY f /f\n")
    builder.build(context, "-t", "x", "-f", elsewhere)


def test_an_archive_bomb_does_not_fill_memory_or_hang(builder):
    context = builder.context({"Dockerfile": "FROM scratch\nADD bomb.tar.gz /\n"})
    member = tarfile.TarInfo("zeros")
    member.size = 1 << 50
    head = member.tobuf(tarfile.GNU_FORMAT)
    with gzip.open(context / "bomb.tar.gz", "wb", compresslevel=9) as file:
        file.write(head)
        file.write(bytes(8 << 20))
    run = either(builder, context)
    assert run.code == 1


@pytest.mark.parametrize("size", [0, 1, 511, 512, 700])
def test_a_cut_archive_is_copied_or_refused(builder, size):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("f")
        member.size = 600
        tar.addfile(member, io.BytesIO(b"x" * 600))
    data = buffer.getvalue()[:size]
    either(builder, {"Dockerfile": "FROM scratch\nADD a.tar /x/\nCOPY a.tar /y/\n", "a.tar": data})


def test_a_stage_wins_over_an_image_of_the_same_name(builder, base):
    builder.build({"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "image"}, "-t", "same")
    text = "FROM scratch AS same\nCOPY f /f\nFROM scratch\nCOPY --from=same /f /f\n"
    out = builder.folder / "out"
    builder.build({"Dockerfile": text, "f": "stage"}, "-o", out)
    assert (out / "f").read_text() == "stage"


def test_an_argument_that_looks_like_a_secret_is_warned_of(builder, base):
    text = f"FROM {base}\nARG API_TOKEN\nRUN echo $API_TOKEN > /dev/null\n"
    files = {"Dockerfile": text}
    run = builder.build(files, "-t", "x", "--check", "--build-arg", "API_TOKEN=t-4711", expect=1)
    assert "SecretsUsedInArgOrEnv" in run.err + run.out
    assert "t-4711" not in run.err + run.out

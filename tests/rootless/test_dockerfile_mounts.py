"""RUN --mount and the flags of RUN through whole builds, as an unprivileged user."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest
from support.building import settled

pytestmark = pytest.mark.rootless


def exported(builder, text, *flags, files=None):
    out = builder.folder / "out"
    run = builder.build({"Dockerfile": text, **(files or {})}, "-t", "x", "-o", out, *flags)
    return out, run


def test_bind_from_context_stage_and_image(builder, base):
    text = f"""\
FROM {base} AS one
RUN echo stage > /file
FROM {base} AS two
RUN --mount=target=/ctx,source=sub --mount=from=one,source=/file,target=/f \\
    --mount=from={base},source=/etc,target=/image-etc \\
    cat /ctx/a /f > /result && [ -f /image-etc/passwd ] && ! touch /ctx/new
FROM scratch
COPY --from=two /result /
"""
    out, _ = exported(builder, text, files={"sub/a": "context\n"})
    assert (out / "result").read_text() == "context\nstage\n"


def test_what_is_written_to_a_bind_is_thrown_away(builder, base):
    text = f"""\
FROM {base} AS two
RUN --mount=target=/ctx,rw touch /ctx/new && [ -e /ctx/new ]
RUN --mount=target=/ctx ls /ctx > /list
RUN ls / > /root-list
FROM scratch
COPY --from=two /list /root-list /
"""
    out, _ = exported(builder, text, files={"a": "a"})
    assert "new" not in (out / "list").read_text().split()
    assert "ctx" not in (out / "root-list").read_text().split()


def test_a_cache_outlives_the_build_and_is_in_no_layer(builder, base):
    text = f"""\
FROM {base} AS one
ARG N
RUN --mount=type=cache,target=/c echo $N >> /c/log && cat /c/log > /result; ls /c > /dev/null
FROM scratch
COPY --from=one /result /c* /
"""
    exported(builder, text, "--build-arg", "N=1")
    out, _ = exported(builder, text, "--build-arg", "N=2")
    assert (out / "result").read_text() == "1\n2\n"
    assert not (out / "c/log").exists()


@pytest.mark.parametrize(("sharing", "together"), [("shared", 2), ("private", 1), ("locked", 1)])
def test_who_shares_a_cache_and_when(builder, base, sharing, together):
    """Two steps at the same time, each of which leaves a file and looks for that of the other."""
    mount = f"--mount=type=cache,target=/c,id=one,sharing={sharing}"
    looks = " ".join(map(str, range(100 if sharing == "shared" else 5)))
    look = (
        f"touch /c/$ME; for i in {looks}; do ls /c | wc -l > /seen;"
        ' [ "$(cat /seen)" = 2 ] && break; sleep 0.2; done; sleep 0.5; rm /c/$ME'
    )
    text = f"""\
FROM {base} AS a
RUN {mount} ME=a; {look}
FROM {base} AS b
RUN {mount} ME=b; {look}
FROM scratch
COPY --from=a /seen /a
COPY --from=b /seen /b
"""
    out, _ = exported(builder, text)
    assert (out / "a").read_text() == (out / "b").read_text() == f"{together}\n"


def test_caches_of_one_id_with_different_beginnings_are_two(builder, base):
    text = f"""\
FROM {base} AS one
RUN echo first > /begin
FROM {base} AS two
RUN --mount=type=cache,target=/c touch /c/plain
RUN --mount=type=cache,target=/c,from=one,source=/ ls /c > /from-one && touch /c/mine
RUN --mount=type=cache,target=/c,from=one,source=/etc ls /c > /from-etc
RUN --mount=type=cache,target=/c,uid=7,mode=700 stat -c "%u %a" /c > /owned && ls /c >> /owned
RUN --mount=type=cache,target=/c ls /c > /again
RUN --mount=type=cache,target=/c,from=one,source=/ cat /c/begin > /kept && [ -e /c/mine ]
FROM scratch
COPY --from=two /from-one /from-etc /owned /again /kept /
"""
    out, _ = exported(builder, text)
    assert "begin" in (out / "from-one").read_text().split()
    assert "passwd" in (out / "from-etc").read_text().split()
    assert (out / "owned").read_text() == "7 700\n"
    assert (out / "again").read_text() == "plain\n"
    assert (out / "kept").read_text() == "first\n"


def test_tmpfs_has_the_size_that_was_asked_for(builder, base):
    text = f"""\
FROM {base} AS one
RUN --mount=type=tmpfs,target=/t,size=1m head -c 900000 /dev/zero > /t/a && \\
    ! head -c 900000 /dev/zero > /t/b && echo full > /result
FROM scratch
COPY --from=one /result /
"""
    out, _ = exported(builder, text)
    assert (out / "result").read_text() == "full\n"


def test_a_secret_is_seen_by_the_step_and_by_nothing_else(builder, base):
    value = "correct-horse-battery-staple"
    (builder.folder / "secret.txt").write_text(value)
    builder.environment["TOKEN"] = value
    text = f"""\
FROM {base} AS one
RUN --mount=type=secret,id=file --mount=type=secret,id=token,env=TOKEN \\
    [ "$(cat /run/secrets/file)" = "$TOKEN" ] && [ -n "$TOKEN" ] && \\
    stat -c %a /run/secrets/file > /mode
RUN [ ! -e /run/secrets/file ] && [ -z "$TOKEN" ]
FROM scratch
COPY --from=one /mode /
"""
    out, run = exported(
        builder,
        text,
        "--secret",
        f"id=file,src={builder.folder}/secret.txt",
        "--secret",
        "id=token,env=TOKEN",
        "--target",
        "",
    )
    assert (out / "mode").read_text() == "400\n"
    assert value not in run.err + run.out + str(run.metadata)
    found = subprocess.run(
        ["grep", "-rlF", value, builder.root], capture_output=True, text=True, check=False
    )
    assert found.stdout == ""


def test_a_secret_that_is_required_and_not_given_fails_by_name(builder, base):
    text = f"FROM {base}\nRUN --mount=type=secret,id=absent,required true\n"
    run = builder.build({"Dockerfile": text}, expect=1)
    assert "absent" in run.err
    assert "Dockerfile:2" in run.err


# Asks the agent for its keys, as ssh does: prints the type of the answer (12) and their number.
ASK = """\
socket(S, 1, 1, 0) or die;
connect(S, pack("Sa108", 1, $ENV{SSH_AUTH_SOCK})) or die "connect: $!";
syswrite(S, pack("NC", 1, 11));
sysread(S, $answer, 4096);
($length, $type, $keys) = unpack("NCN", $answer);
print "$type $keys\\n";
"""


@pytest.fixture
def agent(tmp_path):
    """A real ssh-agent that holds one key; its socket."""
    key, socket = tmp_path / "key", tmp_path / "agent.sock"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as process:
        while not socket.exists():
            assert process.poll() is None
            time.sleep(0.01)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True)
        yield socket
        process.terminate()


def test_an_ssh_agent_is_lent_with_its_keys(builder, base, agent):
    text = f"""\
FROM {base} AS one
COPY ask.pl /
RUN --mount=type=ssh perl /ask.pl > /result && echo "$SSH_AUTH_SOCK" >> /result
RUN --mount=type=ssh,id=mine,target=/run/own,mode=666,uid=1000 \\
    stat -c "%n %u %a %F" "$SSH_AUTH_SOCK" >> /result
RUN --mount=type=ssh,id=other [ -n "$SSH_AUTH_SOCK" ] && [ ! -e "$SSH_AUTH_SOCK" ]
FROM scratch
COPY --from=one /result /
"""
    given = ("--ssh", f"default={agent}", "--ssh", f"mine={agent}")
    out, _ = exported(builder, text, *given, files={"ask.pl": ASK})
    assert (out / "result").read_text() == (
        "12 1\n/run/buildkit/ssh_agent.0\n/run/own 1000 666 socket\n"
    )


def test_keys_are_held_by_an_agent_of_the_build(builder, base):
    """Two keys by file: the step gets an agent that has them, and nothing of it stays."""
    names = [str(builder.folder / name) for name in ("one", "two")]
    for name in names:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name], check=True)
    before = set(processes_called("ssh-agent"))
    text = f"""\
FROM {base} AS one
COPY ask.pl /
RUN --mount=type=ssh,id=keys perl /ask.pl > /result
FROM scratch
COPY --from=one /result /
"""
    out, _ = exported(builder, text, "--ssh", f"keys={','.join(names)}", files={"ask.pl": ASK})
    assert (out / "result").read_text() == "12 2\n"
    assert settled(lambda: set(processes_called("ssh-agent")) - before) == set()


def test_an_agent_of_the_build_ends_with_a_killed_builder(builder, base):
    key = str(builder.folder / "one")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    before = set(processes_called("ssh-agent"))
    text = f"FROM {base}\nRUN --mount=type=ssh echo begun && sleep 60\n"
    with builder.started(
        {"Dockerfile": text}, "--ssh", f"default={key}", until=" begun"
    ) as process:
        assert set(processes_called("ssh-agent")) - before
        process.kill()
    assert settled(lambda: set(processes_called("ssh-agent")) - before) == set()


def test_a_key_with_a_passphrase_or_none_at_all_is_refused(builder):
    key = builder.folder / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "words", "-f", key], check=True)
    run = builder.build({"Dockerfile": "FROM scratch\n"}, "--ssh", f"default={key}", expect=2)
    assert "ssh-add" in run.err
    (builder.folder / "text").write_text("no key")
    (builder.folder / "text").chmod(0o600)
    wrong = f"default={builder.folder}/text"
    assert "text" in builder.build({"Dockerfile": "FROM scratch\n"}, "--ssh", wrong, expect=2).err


def processes_called(name):
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            mine = entry.stat().st_uid == os.getuid()
            if mine and (entry / "comm").read_text().strip() == name:
                yield entry.name


def test_an_agent_that_is_required_and_not_given_fails_by_name(builder, base):
    text = f"FROM {base}\nRUN --mount=type=ssh,id=absent,required true\n"
    run = builder.build({"Dockerfile": text}, expect=1)
    assert "absent" in run.err
    assert "Dockerfile:2" in run.err


def test_hosts_limits_shared_memory_and_no_network(builder, base):
    text = f"""\
FROM {base} AS one
RUN grep -q "10.1.2.3" /etc/hosts && grep -q named /etc/hosts && echo hosts > /result
RUN [ "$(ulimit -n)" = 123 ] && grep "/dev/shm" /proc/mounts | grep -q size=2048k && \\
    echo limits >> /result
RUN --network=none [ "$(grep -c : /proc/net/dev)" = 1 ] && echo alone >> /result
FROM scratch
COPY --from=one /result /
"""
    out, _ = exported(
        builder,
        text,
        "--add-host",
        "named:10.1.2.3",
        "--ulimit",
        "nofile=123:123",
        "--shm-size",
        "2m",
    )
    assert (out / "result").read_text() == "hosts\nlimits\nalone\n"


def test_copy_link_parents_exclude_and_modes(builder, base):
    text = f"""\
FROM {base} AS one
COPY --link --chown=1000:50 a /linked/a
COPY --parents src/./x/y.txt /p/
COPY --exclude=*.o src/ /q/
COPY --chmod=u=rw,go= a /m
RUN stat -c "%u:%g" /linked/a > /r; cat /p/x/y.txt >> /r; ls /q >> /r; stat -c %a /m >> /r
FROM scratch
COPY --from=one /r /
"""
    files = {"a": "a", "src/x/y.txt": "y\n", "src/k.c": "k", "src/k.o": "o"}
    out, _ = exported(builder, text, files=files)
    assert (out / "r").read_text() == "1000:50\ny\nk.c\nx\n600\n"


def test_onbuild_runs_in_the_child(builder, base):
    parent = f"FROM {base}\nONBUILD COPY a /from-child\nONBUILD RUN cat /from-child > /ran\n"
    builder.build({"Dockerfile": parent}, "-t", "parent")
    text = "FROM parent AS one\nFROM scratch\nCOPY --from=one /ran /\n"
    out, _ = exported(builder, text, files={"a": "child"})
    assert (out / "ran").read_text() == "child"


def test_no_cache_runs_again_and_a_filter_only_its_stage(builder, base):
    files = {"Dockerfile": f"FROM {base} AS one\nRUN echo one\nFROM one AS two\nRUN echo two\n"}
    builder.build(files, "-t", "x")
    again = builder.build(files, "-t", "x", "--no-cache-filter", "two")
    assert again.step("RUN echo one")["cached"]
    assert not again.step("RUN echo two")["cached"]
    assert not builder.build(files, "-t", "x", "--no-cache").step("RUN echo one")["cached"]


def test_a_link_copy_puts_back_what_a_step_removed(builder, base):
    """Two copies that are one layer, with a layer between them that hides it."""
    text = f"""\
FROM {base} AS one
COPY --link a /a
RUN rm /a
COPY --link a /a
RUN cat /a > /r
FROM scratch
COPY --from=one /a /r /
"""
    out, _ = exported(builder, text, files={"a": "back"})
    assert (out / "r").read_text() == (out / "a").read_text() == "back"

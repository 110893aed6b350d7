"""Whole builds of hostile inputs: nothing outside the store is read, changed or waited for."""

import io
import os
import socket
import tarfile

import pytest
from support.contents import CANARY, everything
from support.faults import ALWAYS, Fault
from support.web import Answer, web

pytestmark = [pytest.mark.rootless, pytest.mark.usefixtures("canary")]

SECRET = "s3cr3t-of-the-build-4711"


def refused(builder, files, *flags, code=1, saying=""):
    run = builder.build(files, *flags, expect=code)
    assert run.code != 0
    assert "Traceback" not in run.err
    assert saying in run.err
    return run


def exported(builder, files, *flags):
    out = builder.folder / "out"
    builder.build(files, "-o", f"type=local,dest={out}", *flags)
    return out


# --- the context ---------------------------------------------------------------------------------


def test_a_link_in_the_context_is_copied_as_a_link(builder, canary):
    context = builder.context({"Dockerfile": "FROM scratch\nCOPY . /in/\n"})
    (context / "link").symlink_to(canary / "canary")
    (context / "up").symlink_to("../outside")
    out = exported(builder, context)
    assert (out / "in/link").is_symlink()
    assert (out / "in/up").is_symlink()


@pytest.mark.parametrize(
    "source", ["link", "up/canary", "../outside/canary", "../../outside/canary", "/../outside"]
)
def test_copy_reads_nothing_beyond_the_context(builder, canary, source):
    context = builder.context({"Dockerfile": f"FROM scratch\nCOPY {source} /in\n"})
    (context / "link").symlink_to(canary / "canary")
    (context / "up").symlink_to("../outside")
    refused(builder, context)
    assert CANARY.encode() not in everything(builder.root)


def test_a_copy_through_a_link_of_the_image_stays_in_the_image(builder, base, canary):
    text = f"FROM {base}\nRUN ln -s {canary} /a; ln -s ../../../../../.. /b\nCOPY f /a/f\n"
    out = exported(builder, {"Dockerfile": text + "COPY f /b/g\n", "f": "new"})
    assert (out / f".{canary}/f").read_text() == "new"
    assert (out / "g").read_text() == "new"


def test_pipes_and_sockets_in_the_context_make_no_build_hang(builder, tmp_path, monkeypatch):
    context = builder.context({"Dockerfile": "FROM scratch\nCOPY . /in/\n", "f": "text"})
    os.mkfifo(context / "pipe")
    monkeypatch.chdir(context)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        run = builder.run("build", "-o", f"type=tar,dest={tmp_path}/out.tar", context, expect=None)
    assert run.code in {0, 1}
    assert "Traceback" not in run.err


def test_a_dockerfile_that_is_a_pipe_is_refused(builder):
    context = builder.context({})
    os.mkfifo(context / "Dockerfile")
    refused(builder, context, code=2, saying="is not a regular file")


@pytest.mark.parametrize(
    ("kind", "code", "saying"),
    [
        ("directory", 2, "Dockerfile is not a regular file"),
        ("large", 2, "Dockerfile is larger than 16 MiB"),
        ("nul", 1, "not found"),
        ("binary", 1, "unknown instruction"),
    ],
)
def test_a_dockerfile_that_is_none_is_refused(builder, kind, code, saying):
    context = builder.context({"f": "text"})
    path = context / "Dockerfile"
    match kind:
        case "directory":
            path.mkdir()
        case "large":
            with path.open("wb") as file:
                file.truncate(100 << 20)
        case "nul":
            path.write_bytes(b"FROM scratch\nCOPY f\0 /f\n")
        case "binary":
            path.write_bytes(bytes(range(128, 256)) * 10)
    refused(builder, context, code=code, saying=saying)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("!../..\n", "syntax error in pattern: !../..", id="upwards"),
        pytest.param("!/../outside\n!../outside\n", "", id="outside"),
        pytest.param("[\n", 'bad pattern "["', id="invalid"),
        pytest.param("a" * (1 << 20), "it is too long, with 1048576 characters", id="long"),
    ],
)
def test_a_hostile_ignore_file_opens_nothing(builder, canary, text, said):
    files = {"Dockerfile": "FROM scratch\nCOPY . /in/\n", "f": "text", ".dockerignore": text}
    run = builder.run("build", "-t", "x", builder.context(files), expect=int(bool(said)))
    assert said in run.err
    assert len(run.err) < 10_000
    assert "Traceback" not in run.err
    assert CANARY.encode() not in everything(builder.root)


def test_an_ignore_file_of_nested_stars_takes_no_time(builder):
    files = {"Dockerfile": "FROM scratch\nCOPY . /\n", ".dockerignore": "*a" * 40 + "b\n"}
    files["a" * 200] = "text"
    builder.build(files, "-t", "x")


def test_an_ignore_file_that_leads_out_is_not_shown(builder, canary):
    context = builder.context({"Dockerfile": "FROM scratch\nCOPY . /in/\n", "f": "text"})
    (context / ".dockerignore").symlink_to(canary / "canary")
    run = builder.run("build", "-t", "x", context, expect=2)
    assert "leads out of the context" in run.err
    assert "do not read" not in run.err


def hostile_tar(place, *members):
    with tarfile.open(place, "w") as tar:
        for name, kind, value in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(value)
                tar.addfile(member, io.BytesIO(value))
            else:
                member.linkname = value
                tar.addfile(member)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("../../../outside/canary", tarfile.REGTYPE, b"bad")], "name leaves the layer"),
        ([("l", tarfile.SYMTYPE, "OUTSIDE"), ("l/canary", tarfile.REGTYPE, b"bad")], ""),
        (
            [("h", tarfile.LNKTYPE, "OUTSIDE/canary"), ("h", tarfile.REGTYPE, b"bad")],
            "which is no file",
        ),
        ([("h", tarfile.LNKTYPE, "../../outside/canary")], "name leaves the layer"),
    ],
)
@pytest.mark.parametrize("stepping", [False, True])
def test_a_hostile_archive_writes_only_in_the_image(  # noqa: PLR0917 - pytest's
    builder, base, canary, members, said, stepping
):
    members = [
        (name, kind, value.replace("OUTSIDE", str(canary)) if isinstance(value, str) else value)
        for name, kind, value in members
    ]
    text = f"FROM {base}\nADD a.tar /x/\n" + ("RUN echo > /y\n" if stepping else "")
    context = builder.context({"Dockerfile": text})
    hostile_tar(context / "a.tar", *members)
    run = builder.run("build", "-t", "x", context, expect=int(bool(said)))
    assert said in run.err
    assert "Traceback" not in run.err


@pytest.mark.parametrize(
    ("wanted", "saying"),
    [
        ("sha256:" + "0" * 64, "expected sha256:0000"),
        ("md5:" + "0" * 32, "invalid checksum digest format"),
        ("sha256:../../x", "invalid checksum digest format"),
    ],
)
def test_a_checksum_that_is_wrong_or_unknown_is_refused(builder, wanted, saying):
    with web() as site:
        site.answers["/f"] = Answer(body=b"text")
        text = f"FROM scratch\nADD --checksum={wanted} {site.url}/f /f\n"
        refused(builder, {"Dockerfile": text}, saying=saying)
    assert b"text" not in everything(builder.root)


# --- steps and their mounts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["/proc/self/fd/7", "/proc/self/fd/3", "/proc/1/root", "/proc/self/cwd"]
)
def test_a_working_directory_leads_to_no_descriptor(builder, base, canary, place):
    text = f"FROM {base}\nWORKDIR {place}\nRUN ls -a . ..; cat ../../../..{canary}/canary\n"
    run = refused(builder, {"Dockerfile": text})
    assert "do not read" not in run.err


def test_a_bind_whose_source_is_a_link_stays_in_its_stage(builder, base, canary):
    text = f"""\
FROM {base} AS s
RUN ln -s / /link; ln -s {canary} /out
FROM {base}
RUN --mount=type=bind,from=s,source=/link,target=/m ls /m/link /m/bin/sh && [ ! -e /m{canary} ]
"""
    builder.build({"Dockerfile": text}, "-t", "x")
    bind = f"FROM {base} AS s\nRUN ln -s {canary} /out\nFROM {base}\n"
    bind += "RUN --mount=type=bind,from=s,source=/out,target=/m cat /m/canary\n"
    assert "do not read" not in refused(builder, {"Dockerfile": bind}).err


def test_the_id_of_a_cache_is_no_path(builder, base, canary):
    mount = "--mount=type=cache,id=../../outside,target=/c"
    text = f"FROM {base}\nRUN {mount} echo bad > /c/canary; echo bad > /c/more\n"
    builder.build({"Dockerfile": text}, "-t", "x")
    mount = f"--mount=type=cache,id={canary},target=/c"
    builder.build({"Dockerfile": f"FROM {base}\nRUN {mount} echo bad > /c/canary\n"}, "-t", "x")


@pytest.mark.parametrize("target", ["/l/c", "/l", "/up/outside"])
def test_targets_through_links_stay_in_the_image(builder, base, canary, target):
    text = f"""\
FROM {base}
RUN ln -s {canary} /l; ln -s ../../../../../.. /up
RUN --mount=type=cache,target={target} echo made > {target}/new
RUN --mount=type=secret,id=s,target={target}/secret cat {target}/secret > /dev/null
"""
    secret = builder.folder / "secret"
    secret.write_text(SECRET)
    run = builder.run(
        "build", "--secret", f"id=s,src={secret}", "-t", "x",
        builder.context({"Dockerfile": text}),
    )  # fmt: skip
    assert "Traceback" not in run.err


@pytest.mark.parametrize(
    ("target", "saying"),
    [("/", "invalid mount target"), ("/proc", "mounted over"), ("/dev", "mounted over")],
)
def test_a_cache_over_what_a_step_needs_is_refused(builder, base, target, saying):
    text = f"FROM {base}\nRUN --mount=type=cache,target={target} echo hello\n"
    refused(builder, {"Dockerfile": text}, saying=saying)


def test_cleaning_up_mount_points_follows_no_link_of_the_step(builder, base, canary):
    text = f"""\
FROM {base}
RUN --mount=type=cache,target=/made/canary rm -rf /made 2>/dev/null; \
    mv /made /moved; ln -s {canary} /made; ls -l /made || true
RUN --mount=type=tmpfs,target=/other/deep/er mv /other /else; ln -s {canary.parent} /other; true
"""
    run = builder.build({"Dockerfile": text}, "-t", "x")
    assert "Traceback" not in run.err


def test_a_step_sees_nothing_of_the_builder(builder, base):
    builder.environment["BUILDERS_OWN"] = SECRET
    text = f"""\
FROM {base}
RUN env; ls -l /proc/self/fd /proc/1/fd; cat /proc/*/environ | tr '\\0' '\\n'; ls /proc
"""
    run = builder.build({"Dockerfile": text}, "-t", "x")
    assert SECRET not in run.err
    assert str(builder.folder) not in run.err.split("transferring", 1)[-1]
    assert "/dev/fuse" not in run.err


@pytest.mark.parametrize(
    "user", ["4294967295", "4294967296", "-1", "root:", ":", "no-such", "0:no"]
)
def test_users_are_validated(builder, base, user):
    text = f"FROM {base}\nUSER {user}\nRUN echo > /tmp/made-by\n"
    run = builder.run("build", "-t", "x", builder.context({"Dockerfile": text}), expect=None)
    assert "Traceback" not in run.err
    assert run.code == (user not in {"root:", ":"})
    assert not run.code or "out of range" in run.err or "unable to find" in run.err


@pytest.mark.parametrize(
    ("flag", "saying"),
    [
        ("--security=insecure", "entitlement security.insecure is not allowed"),
        ("--network=host", "entitlement network.host is not allowed"),
        ("--device=fuse", "--device is not supported"),
    ],
)
def test_more_rights_are_not_to_be_had(builder, base, flag, saying):
    refused(builder, {"Dockerfile": f"FROM {base}\nRUN {flag} true\n"}, saying=saying)


MADE = [(tarfile.SYMTYPE, "{canary}"), (tarfile.SYMTYPE, "/"), (tarfile.FIFOTYPE, "")]


def hostile_places(builder, base, canary, made, *places):
    """What a step says over an image that has something else at these places."""
    kind, target = made
    context = builder.context({"Dockerfile": f"FROM {base}\nADD bad.tar /\n"})
    to = target.format(canary=canary)
    hostile_tar(context / "bad.tar", *[(path[1:], kind, to) for path in places])
    builder.build(context, "-t", "hostile")
    step = "echo in-the-step > /made; cat /etc/resolv.conf /etc/hosts; test -c /dev/null"
    return builder.build({"Dockerfile": f"FROM hostile\nRUN {step}\n"}, "-t", "x", expect=None)


@pytest.mark.parametrize("made", MADE)
def test_a_base_whose_own_mount_points_are_hostile(builder, base, canary, made):
    run = hostile_places(builder, base, canary, made, "/etc/resolv.conf", "/etc/hosts")
    refused = made[1] == "/"  # inside the image: a directory, where a file has to be
    assert run.code == refused
    assert not refused or "cannot mount over /etc/resolv.conf" in run.err
    assert "do not read" not in run.err


@pytest.mark.parametrize("made", MADE)
def test_a_base_with_something_else_for_a_directory_of_the_kernel(builder, base, canary, made):
    for place in ("/dev", "/proc", "/sys"):
        run = hostile_places(builder, base, canary, made, place)
        assert run.code == 1
        assert f"the image's {place} is not a directory" in run.err


def test_a_null_device_that_an_image_brings_is_not_the_one_of_steps(builder, base):
    context = builder.context({"Dockerfile": f"FROM {base}\nADD bad.tar /\n"})
    hostile_tar(context / "bad.tar", ("dev/null", tarfile.REGTYPE, b"not null"))
    builder.build(context, "-t", "hostile")
    files = {"Dockerfile": 'FROM hostile\nRUN [ -c /dev/null ] && [ -z "$(cat /dev/null)" ]\n'}
    builder.build(files, "-t", "x")


# --- secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["file", "env"])
def test_a_secret_is_nowhere_afterwards(builder, base, tmp_path, way):
    (tmp_path / "secret").write_text(SECRET)
    builder.environment["TOKEN"] = SECRET
    source = f"id=s,src={tmp_path}/secret" if way == "file" else "id=s,env=TOKEN"
    same = f"[ $(cat /run/secrets/s) = {SECRET[:3]}${{X}}{SECRET[3:]} ]"
    text = f"FROM {base}\nRUN --mount=type=secret,id=s {same}\n"
    log, cache = tmp_path / "log", tmp_path / "cache"
    run = builder.build(
        {"Dockerfile": text}, "--secret", source, "-t", "x", "--logfile", log,
        "--provenance=mode=max", "--cache-to", f"type=local,dest={cache}", "--progress=rawjson",
    )  # fmt: skip
    where = everything(builder.root) + everything(cache) + log.read_bytes()
    where += run.err.encode() + run.out.encode() + str(run.metadata).encode()
    assert SECRET.encode() not in where


def test_a_secret_that_a_step_copies_would_be_found(builder, base, tmp_path):
    (tmp_path / "secret").write_text(SECRET)
    text = f"FROM {base}\nRUN --mount=type=secret,id=s cat /run/secrets/s > /kept\n"
    builder.build({"Dockerfile": text}, "--secret", f"id=s,src={tmp_path}/secret", "-t", "x")
    assert SECRET.encode() in everything(builder.root)


def test_the_password_of_a_git_address_is_not_shown(builder):
    text = f"FROM scratch\nADD https://user:{SECRET}@127.0.0.1:1/x.git /x\n"
    run = refused(builder, {"Dockerfile": text}, saying="git ls-remote failed")
    assert SECRET not in run.err + run.out


# --- output --------------------------------------------------------------------------------------


def test_what_a_step_prints_is_no_command_to_a_terminal_or_to_github(builder, base):
    builder.environment["GITHUB_ACTIONS"] = "true"
    said = r"\033]0;title\007\033[2J::error::forged\n::set-output name=a::b\n##[error]forged\n"
    run = builder.build({"Dockerfile": f"FROM {base}\nRUN printf '{said}'; exit 3\n"}, expect=1)
    assert not [it for it in run.err.splitlines() if it.startswith(("::set", "::error::", "##["))]
    assert "\x1b]" not in run.err
    assert "\x1b[2J" not in run.err


def test_an_output_follows_no_link_out_of_its_directory(builder, canary):
    out = builder.folder / "out"
    out.mkdir()
    (out / "d").symlink_to(canary)
    (out / "canary").symlink_to(canary / "canary")
    files = {"Dockerfile": "FROM scratch\nCOPY d /d\nCOPY f /canary\n", "d/canary": "x", "f": "y"}
    builder.build(files, "-o", out)
    assert not (out / "d").is_symlink()
    assert not (out / "canary").is_symlink()
    assert (out / "d/canary").read_text() == "x"
    assert (out / "canary").read_text() == "y"


def test_an_output_over_a_file_is_refused(builder, tmp_path):
    (tmp_path / "file").write_text("there")
    files = {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "y"}
    refused(builder, files, "-o", tmp_path / "file", code=2, saying="File exists")
    assert (tmp_path / "file").read_text() == "there"


def test_an_output_that_may_not_be_written_is_an_error(builder, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    files = {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "y"}
    refused(builder, files, "-o", tmp_path / "closed", saying="can't write /f")


@pytest.mark.parametrize(
    "tag", ["../../x", "a/../b", "x:" + "t" * 300, "x/UPPER", "a" * 300, "x:t:u"]
)
def test_bad_tags_are_refused_before_anything_runs(builder, tag):
    files = {"Dockerfile": "FROM scratch\nCOPY f /\n", "f": ""}
    run = refused(builder, files, "-t", tag, code=2, saying="invalid image reference")
    assert "[1/1]" not in run.err


def test_a_push_that_will_be_denied_is_refused_before_building(builder, base, registry):
    registry.fault(Fault(method="POST", path="denied/image", status=403, times=ALWAYS))
    try:
        files = {"Dockerfile": f"FROM {base}\nRUN echo long-step\n"}
        tag = f"{registry.host}/denied/image:1"
        run = builder.build(files, "-t", tag, "--push", expect=104)
    finally:
        registry.script.clear()
    assert "RUN echo long-step" not in run.err

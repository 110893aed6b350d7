"""Hostile inputs that move, that are many, or that come from elsewhere; canaries stay untouched."""

import os
import subprocess
import tarfile
import threading
import time

import pytest
from support.building import Builder
from support.contents import CANARY, everything
from support.repositories import Repositories
from support.web import Answer, web

from lazybuild.errors import BuildError
from lazybuild.snapshots.hosttree import HostTree

pytestmark = [pytest.mark.rootless, pytest.mark.usefixtures("canary")]

TOKEN = "t0ken-of-the-build-4711"
OFF = ("--profile-from", "off", "--profile-to", "off")


class Swapping(threading.Thread):
    """Makes a name mean a directory of the context and a link out of it, in turns."""

    def __init__(self, place, outside):
        super().__init__()
        self.place, self.ended = place, threading.Event()
        self.link = place.with_name("link")
        self.link.symlink_to(outside)
        self.kept = place.with_name("kept")

    def run(self):
        while not self.ended.is_set():
            os.rename(self.place, self.kept)
            os.rename(self.link, self.place)
            time.sleep(0.0002)
            os.rename(self.place, self.link)
            os.rename(self.kept, self.place)
            time.sleep(0.0002)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


# --- 51: the context -----------------------------------------------------------------------------


def test_a_directory_swapped_for_a_link_while_it_is_read(builder, canary):
    context = builder.context({"d/canary": "inside"})
    read, refusals = set(), 0
    with Swapping(context / "d", canary):
        for _ in range(3000):
            try:
                with HostTree(context).open("d/canary") as file:
                    read.add(file.read())
            except (BuildError, OSError):
                refusals += 1
    assert read == {b"inside"}
    assert refusals


def test_a_directory_swapped_for_a_link_while_it_is_copied(builder, canary):
    files = {"Dockerfile": "FROM scratch\nCOPY d /d\n", "d/canary": "inside"}
    context = builder.context(files | {f"d/{number}": "x" for number in range(300)})
    with Swapping(context / "d", canary):
        for _ in range(3):
            run = builder.run(
                "build",
                "--no-cache",
                "-o",
                f"type=oci,dest={builder.folder}/o",
                context,
                expect=None,
            )
            assert run.code in {0, 1}, run.err
            assert "Traceback" not in run.err
    assert CANARY.encode() not in everything(builder.root)


# --- 61: many hits -------------------------------------------------------------------------------


def timed(builder, context):
    begun = time.monotonic()
    builder.build(context, "-t", "x")
    return time.monotonic() - begun


def test_a_pattern_with_very_many_hits_is_bounded(builder):
    """Ten times the files may take ten times as long, not a hundred times."""
    seconds = []
    for count in (1_000, 10_000):
        context = builder.context({"Dockerfile": "FROM scratch\nCOPY d/f* /d/\n"})
        (context / "d").mkdir()
        for number in range(count):
            (context / "d" / f"f{number}").touch()
        seconds.append(timed(builder, context))
    assert seconds[1] < 30 * max(seconds[0], 0.3)


# --- 65: one cache, two steps --------------------------------------------------------------------


def test_two_steps_race_on_a_subdirectory_of_a_cache(builder, base, canary):
    """One makes it a link to the host's files all the time, the other mounts it."""
    swap = (
        "mkdir -p /c/sub; i=0; while [ $i -lt 3000 ] && [ ! -e /c/stop ]; do"
        f" mv /c/sub /c/kept; ln -s {canary} /c/sub; rm /c/sub; ln -s / /c/sub; rm /c/sub;"
        " mv /c/kept /c/sub; i=$((i+1)); done"
    )
    cache = "--mount=type=cache,id=raced,target="
    look = "".join(
        f"RUN {cache}/m,source=sub echo {n}; cat /m/canary /m{canary}/canary; ls /m; true\n"
        for n in range(8)
    )
    text = f"""\
FROM {base} AS swaps
RUN {cache}/c {swap}
FROM {base} AS looks
{look}RUN {cache}/c touch /c/stop
FROM scratch
COPY --from=swaps /etc/passwd /a
COPY --from=looks /etc/passwd /b
"""
    run = builder.run("build", "-t", "x", builder.context({"Dockerfile": text}), expect=None)
    assert run.code in {0, 1}
    assert "Traceback" not in run.err
    assert "do not read" not in run.err


# --- 56 to 58: what ADD fetches ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "saying"),
    [
        ("file:///etc/passwd", "neither an http nor an https URL"),
        ("http://169.254.169.254/latest", "it leads to a link-local address"),
        ("http://[fe80::1]/", "it leads to a link-local address"),
        ("gopher://x/", "neither an http nor an https URL"),
        ("/on", "more than 10 redirects"),
    ],
)
def test_an_address_that_redirects_elsewhere_is_refused(builder, canary, location, saying):
    with web() as site:
        site.answers["/x"] = Answer(status=302, headers={"Location": location})
        site.answers["/on"] = site.answers["/x"]
        files = {"Dockerfile": f"FROM scratch\nADD {site.url}/x /x\n"}
        run = builder.build(files, expect=1)
    assert saying in run.err
    assert "Traceback" not in run.err


def test_a_name_that_a_server_gives_is_one_part(builder, canary):
    with web() as site:
        offered = {"Content-Disposition": 'attachment; filename="../../outside/canary"'}
        site.answers["/x"] = Answer(body=b"bad", headers=offered)
        out = builder.folder / "out"
        builder.build({"Dockerfile": f"FROM scratch\nADD {site.url}/x /in/\n"}, "-o", out)
    assert [path.name for path in (out / "in").iterdir()] in (["x"], ["canary"])


@pytest.mark.parametrize(
    ("fragment", "saying"),
    [
        ("--upload-pack=touch${IFS}PLACE", "can't be the name of a ref"),
        ("main:../..", ""),  # the top of the repository
        ("main:/../../outside", "has no directory 'outside'"),
        ("main:link", "has no directory 'link'"),
        (":.git", "has no directory '.git'"),
    ],
)
def test_what_a_git_address_may_not_lead_to(builder, canary, fragment, saying):
    with Repositories(builder.folder / "git") as git:
        url = git.make("some", {"a": "text"})
        text = f"FROM scratch\nADD {url}#{fragment.replace('PLACE', str(canary))} /x/\n"
        out = builder.folder / "out"
        run = builder.build({"Dockerfile": text}, "-o", out, expect=int(bool(saying)))
    assert saying in run.err
    assert run.code or [path.name for path in (out / "x").iterdir()] == ["a"]


def test_a_checksum_is_for_what_can_have_one(builder, canary):
    wanted = "sha256:" + "0" * 64
    text = f"FROM scratch\nADD --checksum={wanted} . /f\n"
    run = builder.build({"Dockerfile": text, "f": "text"}, expect=1)
    assert "checksum" in run.err


# --- 93, 94: what stays apart --------------------------------------------------------------------


def test_the_value_of_an_argument_that_looks_like_a_secret_is_not_shown(builder, base):
    text = f"""\
FROM {base}
ARG API_TOKEN
ARG PLAIN
WORKDIR /in/$API_TOKEN
RUN echo with $API_TOKEN and $PLAIN; sh -xc 'echo "$API_TOKEN" >&2'; exit 3
"""
    log = builder.folder / "log"
    given = ("--build-arg", f"API_TOKEN={TOKEN}", "--build-arg", "PLAIN=plain-value")
    for mode in ("plain", "rawjson"):
        run = builder.build(
            {"Dockerfile": text},
            *given,
            "--logfile",
            log,
            "--progress",
            mode,
            "--explain",
            expect=1,
        )
        assert TOKEN not in run.err + run.out + log.read_text()
        assert "****" in log.read_text()
        assert "plain-value" in log.read_text()
    assert TOKEN not in builder.run("du", "--verbose").out


def test_a_cache_that_is_only_read_is_not_written(registry, builder, base):
    """A pull request reads the cache of main, and writes its own, which main does not read."""
    place = f"type=registry,ref={registry.host}/cache"
    text = f"FROM {base}\nRUN echo built > /built\n"
    builder.build({"Dockerfile": text}, "--cache-to", f"{place}:main", *OFF)
    before = len(registry.log)
    request = Builder(builder.folder / "request")
    flags = ("--cache-from", f"{place}:main")
    read = request.build({"Dockerfile": text}, *flags, "-t", "x", *OFF)
    assert read.step("echo built")["cached"]
    assert {it.method for it in registry.log[before:]} <= {"GET", "HEAD"}
    poison = text.replace("echo built", "echo poison")
    request.build({"Dockerfile": poison}, *flags, "--cache-to", f"{place}:request", *OFF)
    fresh = Builder(builder.folder / "fresh")
    out = builder.folder / "out"
    fresh.build({"Dockerfile": poison}, *flags, "-o", out, *OFF)
    main = fresh.build({"Dockerfile": text}, *flags, "-o", out, *OFF)
    assert main.step("echo built")["cached"]
    assert (out / "built").read_text() == "built\n"


# --- 97, 98: outputs -----------------------------------------------------------------------------


def test_an_output_makes_no_device_and_keeps_links_as_they_are(builder, base, canary):
    context = builder.context({"Dockerfile": "FROM scratch\nADD a.tar /\n"})
    with tarfile.open(context / "a.tar", "w") as tar:
        for name, kind, mode in [("null", tarfile.CHRTYPE, 0o666), ("up", tarfile.SYMTYPE, 0o777)]:
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.linkname = kind, mode, str(canary / "canary")
            member.devmajor, member.devminor = 1, 3
            tar.addfile(member)
    out = builder.folder / "out"
    run = builder.build(context, "-o", out)
    assert "1 device nodes were not written" in run.err
    assert not (out / "null").exists()
    assert os.readlink(out / "up") == str(canary / "canary")


def test_an_archive_is_not_written_to_a_terminal(builder, canary):
    ours, theirs = os.openpty()
    context = builder.context({"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "text"})
    command = [os.sys.executable, "-m", "lazybuild", "build", "-o", "-", context]
    run = subprocess.run(
        command, env=builder.environment, stdout=theirs, stderr=subprocess.PIPE, check=False
    )
    os.close(theirs)
    os.close(ours)
    assert run.returncode == 2, run.stderr
    assert b"terminal" in run.stderr

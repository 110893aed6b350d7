"""Contexts that are not directories, through the command line."""

import contextlib
import io
import os
import socket
import subprocess
import tarfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytestmark = pytest.mark.rootless

DOCKERFILE = "FROM scratch\nCOPY a sub /x/\n"


def archive(files, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


FILES = {"Dockerfile": DOCKERFILE, "a": "one", "sub/b": "two"}


def built(builder, *arguments, stdin=b"", expect=0):
    out = builder.folder / "out"
    command = builder.start("build", "-o", out, *arguments, stdin_bytes=stdin)
    _, err = command.communicate(stdin, timeout=100)
    assert command.returncode == expect, err.decode()
    return {
        str(path.relative_to(out)): path.read_text() for path in out.rglob("x/*") if path.is_file()
    }


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *arguments: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_on_standard_input(builder, mode):
    assert built(builder, "-", stdin=archive(FILES, mode)) == {"x/a": "one", "x/b": "two"}


def test_a_dockerfile_alone_on_standard_input(builder):
    found = built(builder, "-", stdin=b"FROM scratch\nCOPY <<x/a /\nEND\n", expect=1)
    assert found == {}
    text = b"FROM scratch\nCOPY <<EOF /x/a\nhello\nEOF\n"
    assert built(builder, "-", stdin=text) == {"x/a": "hello\n"}


def test_a_dockerfile_on_standard_input_beside_a_directory(builder):
    context = builder.context({"a": "one", "sub/b": "two"})
    found = built(builder, "-f", "-", context, stdin=DOCKERFILE.encode())
    assert found == {"x/a": "one", "x/b": "two"}


def test_an_archive_and_a_dockerfile_behind_a_url(builder, site):
    folder, url = site
    (folder / "context.tar.gz").write_bytes(archive(FILES, "w:gz"))
    assert built(builder, f"{url}/context.tar.gz") == {"x/a": "one", "x/b": "two"}
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY <<EOF /x/c\nthree\nEOF\n")
    assert built(builder, f"{url}/Dockerfile")["x/c"] == "three\n"


@pytest.fixture
def repository(tmp_path):
    place = tmp_path / "repository.git"
    place.mkdir()
    for name, text in {
        **FILES,
        "inner/Dockerfile": DOCKERFILE,
        "inner/a": "in",
        "inner/sub/b": "ner",
    }.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    for command in (
        "init -q -b main",
        "add .",
        "-c user.name=n -c user.email=e commit -q -m x",
        "update-server-info",
    ):
        subprocess.run(["git", *command.split()], cwd=place, env=environment, check=True)
    return place


@pytest.fixture
def served(repository):
    """The repository over git's own protocol."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [
        "git",
        "daemon",
        "--export-all",
        "--listen=127.0.0.1",
        f"--port={port}",
        f"--base-path={repository.parent}",
        "--reuseaddr",
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"git://127.0.0.1:{port}/repository.git"
        process.terminate()


def test_a_repository_and_a_part_of_it(builder, served):
    assert built(builder, f"{served}#main") == {"x/a": "one", "x/b": "two"}
    assert built(builder, f"{served}#main:inner") == {"x/a": "in", "x/b": "ner"}


def test_add_of_a_repository(builder, served):
    text = f"FROM scratch\nADD {served}#main:inner /x/\n"
    found = built(builder, builder.context({"Dockerfile": text}))
    assert found["x/a"] == "in"


def test_contexts_by_name(builder, site):
    folder, url = site
    (folder / "file.txt").write_text("web")
    extra = builder.context({"e": "extra"})
    builder.build(
        {"Dockerfile": "FROM scratch\nCOPY i /i\n", "i": "image"},
        "-t",
        "base",
        "-o",
        f"type=oci,tar=false,dest={builder.folder}/layout",
    )
    text = f"""\
FROM other
COPY --from=dir e /x/e
COPY --from=layout /i /x/i
ADD {url}/file.txt /x/w
"""
    context = builder.context({"Dockerfile": text})
    flags = (
        "--build-context",
        f"dir={extra}",
        "--build-context",
        "other=docker-image://scratch",
        "--build-context",
        f"layout=oci-layout://{builder.folder}/layout",
    )
    assert built(builder, *flags, context) == {"x/e": "extra", "x/i": "image", "x/w": "web"}


def test_a_link_out_of_the_context_gives_no_file_of_the_host(builder):
    context = builder.context({"Dockerfile": "FROM scratch\nCOPY link /x/\n"})
    (builder.folder / "secret").write_text("of the host")
    (context / "link").symlink_to(builder.folder / "secret")
    built(builder, context, expect=1)


def test_an_ignore_file_beside_the_dockerfile_wins(builder):
    context = builder.context(
        {
            "own.Dockerfile": "FROM scratch\nCOPY . /x/\n",
            "own.Dockerfile.dockerignore": "*\n!keep\n",
            ".dockerignore": "keep\n",
            "keep": "kept",
            "drop": "dropped",
        }
    )
    assert built(builder, "-f", context / "own.Dockerfile", context) == {"x/keep": "kept"}


def test_a_dockerfile_behind_a_url_for_a_directory(builder, site):
    folder, url = site
    (folder / "My").write_text(DOCKERFILE)
    context = builder.context({"a": "one", "sub/b": "two", ".dockerignore": "sub/b"})
    assert built(builder, "-f", f"{url}/My", context) == {"x/a": "one"}
    assert built(builder, "-f", f"{url}/absent", context, expect=1) == {"x/a": "one"}


def test_a_compressed_archive_of_any_kind(builder):
    import zstandard  # noqa: PLC0415 - wanted here alone

    data = zstandard.compress(archive(FILES))
    assert built(builder, "-", stdin=data) == {"x/a": "one", "x/b": "two"}


def test_standard_input_is_one_thing(builder):
    process = builder.start("build", "-f", "-", "-", stdin_bytes=b"yes")
    _, err = process.communicate(archive(FILES), timeout=60)
    assert process.returncode == 2
    assert b"can't be both" in err


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ("https://h.invalid/x.git?nonsense=1", "nonsense"),
        ("github.com/owner/name#a:b:c?", "github.com/owner/name"),
        ("nowhere", "nowhere is not a directory"),
    ],
)
def test_a_context_that_can_not_be_is_named(builder, context, words):
    run = builder.run("build", context, expect=None)
    assert run.code not in (0, 100)
    assert words in run.err


def test_a_repository_without_the_dockerfile_that_is_asked_for(builder, served):
    run = builder.run("build", "-f", "absent/Dockerfile", f"{served}#main", expect=1)
    assert "there is no absent/Dockerfile" in run.err
    run = builder.run("build", "-f", "sub", f"{served}#main", expect=1)
    assert "is no file" in run.err


def test_named_contexts_out_of_repositories_and_urls(builder, site, served):
    folder, url = site
    (folder / "file").write_text("web")
    text = (
        "FROM scratch\nCOPY --from=g a /x/a\nCOPY --from=part a /x/b\nCOPY --from=h context /x/c\n"
    )
    flags = [f"g={served}#main", f"part={served}#main:inner", f"h={url}/file"]
    words = [word for flag in flags for word in ("--build-context", flag)]
    found = built(builder, *words, builder.context({"Dockerfile": text}))
    assert found == {"x/a": "one", "x/b": "in", "x/c": "web"}

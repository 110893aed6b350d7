"""The same Dockerfile through a real BuildKit and through lazybuild: the same image.

Compared are the final tree (names, types, modes, owners, link targets, attributes, bytes) and the
image config with its history. Not compared are times: steps run when they run.
"""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import re
import shutil
import sys
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.building import Builder
from support.peers import User
from support.repositories import Repositories

pytestmark = pytest.mark.root

CASES = Path(__file__).parents[2] / "testdata" / "differential"
NAMES = sorted(path.parent.name for path in CASES.glob("*/Dockerfile"))
LANDMARKS = {".prefetch.landmark", ".no.prefetch.landmark"}

# What the history of newer BuildKits says otherwise than this Docker's: the instruction whose text
# is not compared in that case (that it is there, and whether it made a layer, is).
ARG = "ARG"  # listed with the value it has there, since 1.10
EXPOSE = "EXPOSE"  # ports are listed as they are stored, since 1.9
HEALTHCHECK = "HEALTHCHECK"  # durations are written in full, since 1.9
SCRIPT = "RUN"  # the name of a mounted script is part of the command, since 1.8
HISTORY_CHANGED = {
    "run-heredoc-shebang": SCRIPT,
    "expose": EXPOSE,
    "healthcheck": HEALTHCHECK,
    "healthcheck-exec": HEALTHCHECK,
    "healthcheck-none": HEALTHCHECK,
    "healthcheck-start": HEALTHCHECK,
    "arg-global": ARG,
    "from-arg": ARG,
    "from-platform": ARG,
    "arg-env-order": ARG,
    "arg": ARG,
}


@pytest.fixture(scope="module")
def lazybuild(moby):
    """lazybuild as the unprivileged user, over one store."""
    user = User.builder()
    moby.folder.chmod(0o711)
    folder = user.owns(moby.shared / "lazybuild")
    builder = Builder(folder)

    def build(context, *flags):
        target = folder / f"{context.name}.tar"
        words = ("build", "-q", "-o", f"type=oci,dest={target}", *flags, str(context))
        environment = [f"{name}={value}" for name, value in builder.environment.items()]
        user.run(["env", *environment, sys.executable, "-m", "lazybuild", *words], folder)
        return target

    return build


@pytest.fixture(scope="module")
def context(moby, request):
    """One context for all cases of a module; only the Dockerfile changes."""
    folder = moby.shared / request.module.__name__
    for name, text in {
        "a": "a", "a2": "second", "a b": "blank", "fake.tar.gz": "no archive at all",
        "sub/b.txt": "b", "sub/c.txt": "c", "sub/deep/d": "d", "links/real": "r",
        "ignored.log": "no", "kept.log": "yes",
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "sub/deep").chmod(0o705)
    (folder / "a2").chmod(0o755)
    (folder / "link").symlink_to("a")
    (folder / "linkdir").symlink_to("sub")
    (folder / "links/inner").symlink_to("real")
    (folder / ".dockerignore").write_text("*.log\n!kept.log\nDockerfile*\n")
    plain = archive()
    packed = {
        "t.tar": plain,
        "t.tar.gz": gzip.compress(plain),
        "t.tar.bz2": bz2.compress(plain),
        "t.tar.xz": lzma.compress(plain),
    }
    for name, data in packed.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def http(context):
    """The context's files over HTTP; gives the address."""

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=context)

        def log_message(self, *words):
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def git(tmp_path_factory):
    """The address of a repository."""
    with Repositories(tmp_path_factory.mktemp("git")) as served:
        yield served.make("one", {"f": "f", "sub/g": "g", "sub/run": "r"})


@pytest.fixture(scope="module")
def placed(base, http, git):
    """Puts the addresses into the text of a case."""

    def place(text):
        for word, address in {b"BASE": base, b"HTTP/": f"{http}/", b"GIT#": f"{git}#"}.items():
            text = text.replace(word, address.encode())
        return text

    return place


def archive():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        directory = tarfile.TarInfo("dir")
        directory.type, directory.mode, directory.uid = tarfile.DIRTYPE, 0o750, 11
        tar.addfile(directory)
        member = tarfile.TarInfo("dir/file")
        member.size, member.mode, member.uid, member.gid = 4, 0o640, 12, 13
        tar.addfile(member, io.BytesIO(b"text"))
        link = tarfile.TarInfo("dir/link")
        link.type, link.linkname = tarfile.SYMTYPE, "file"
        tar.addfile(link)
        hard = tarfile.TarInfo("hard")
        hard.type, hard.linkname = tarfile.LNKTYPE, "dir/file"
        hard.mode, hard.uid, hard.gid = member.mode, member.uid, member.gid
        tar.addfile(hard)
    return out.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_image(moby, lazybuild, context, placed, name):
    text = placed((CASES / name / "Dockerfile").read_bytes())
    dockerfile = context / f"Dockerfile.{name}"
    dockerfile.write_bytes(text)
    ignore = CASES / name / "dockerignore"
    if ignore.exists():
        shutil.copyfile(ignore, context / f"Dockerfile.{name}.dockerignore")
    secret = moby.shared / "secret"
    secret.write_text("s3cret")
    given = CASES / name / "flags"
    flags = placed(given.read_bytes()).decode().split("\n")[:-1] if given.exists() else []
    target = moby.shared / f"{name}.tar"
    there = [flag.replace("SECRET", moby.there(secret)) for flag in flags]
    output = ("--output", f"type=oci,dest={moby.there(target)}")
    moby.build(context, "-f", moby.there(dockerfile), *output, *there)
    here = [flag.replace("SECRET", str(secret)) for flag in flags]
    ours = image(lazybuild(context, "-f", str(dockerfile), *here, "-t", name))
    theirs = image(target)
    assert ours[0] == theirs[0]
    assert ours[1] == theirs[1]
    changed = HISTORY_CHANGED.get(name)
    assert masked(ours[2], changed) == masked(theirs[2], changed)


def masked(history, word):
    return [
        (word if word and text.startswith(f"{word} ") else text, empty) for text, empty in history
    ]


def test_there_are_enough_cases():
    assert len(NAMES) >= 60


# --- reading an OCI archive ----------------------------------------------------------------------


def image(path):
    """((files by name, hard links), config, history) of the one image in an OCI archive."""
    with tarfile.open(path) as found:
        read = {item.name: found.extractfile(item).read() for item in found if item.isfile()}
    document = json.loads(read["index.json"])
    while "manifests" in document:
        document = blob(read, document["manifests"][0])
    config = blob(read, document["config"])
    files = {}
    for layer in document["layers"]:
        apply(files, raw(read, layer))
    history = [
        (re.sub(r"\s+", " ", line.get("created_by", "")), line.get("empty_layer", False))
        for line in config.get("history", [])
    ]
    shown = {key: config.get(key) for key in ("architecture", "os", "author")}
    return (files, hard_links(files)), {**shown, "config": config["config"]}, history


def hard_links(files):
    """The groups of names that are one file: `put` gives a link its target's own record."""
    groups = {}
    for name, record in files.items():
        groups.setdefault(id(record), set()).add(name)
    return sorted(sorted(names) for names in groups.values() if len(names) > 1)


def raw(read, descriptor):
    return read["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]


def blob(read, descriptor):
    return json.loads(raw(read, descriptor))


def apply(files, data):
    """One layer on top, as OCI's layer.md has it."""
    with tarfile.open(fileobj=io.BytesIO(data)) as layer:
        members = [(member, tidy(member.name)) for member in layer]
        for _, name in members:
            hide(files, name)
        for member, name in members:
            base = name.rpartition("/")[2]
            if name and not base.startswith(".wh.") and name not in LANDMARKS:
                put(files, layer, member, name)


def hide(files, name):
    directory, _, base = name.rpartition("/")
    if base == ".wh..wh..opq":
        gone = [path for path in files if path.startswith(f"{directory}/")]
    elif base.startswith(".wh."):
        path = f"{directory}/{base[4:]}".lstrip("/")
        gone = [known for known in files if known == path or known.startswith(f"{path}/")]
    else:
        return
    for path in gone:
        del files[path]


def put(files, layer, member, name):
    if member.islnk():
        files[name] = files[tidy(member.linkname)]
        return
    old = files.get(name)
    if old is not None and old[0] == "dir" and not member.isdir():
        for path in [path for path in files if path.startswith(f"{name}/")]:
            del files[path]
    kind = "dir" if member.isdir() else member.type.decode()
    data = hashlib.sha256(layer.extractfile(member).read()).hexdigest() if member.isfile() else ""
    attributes = {key: value for key, value in member.pax_headers.items() if "xattr" in key}
    owner, device = (member.uid, member.gid), (member.devmajor, member.devminor)
    files[name] = (kind, member.mode, owner, member.linkname, device, data, attributes)


def tidy(name):
    name = name.removeprefix("./").strip("/")
    return "" if name == "." else name

"""ADD from elsewhere, ONBUILD of a pushed image, and the flags that shape the result."""

import hashlib
import io
import json
import tarfile

import pytest
from support.building import Builder
from support.repositories import Repositories
from support.web import Answer, web

pytestmark = pytest.mark.rootless


@pytest.fixture
def site():
    with web() as running:
        yield running


@pytest.fixture
def git(tmp_path):
    with Repositories(tmp_path / "git") as running:
        yield running


def exported(builder, text, *flags, files=None):
    out = builder.folder / "out"
    builder.build({"Dockerfile": text, **(files or {})}, "-o", out, *flags)
    return out


def shown(builder, name):
    return json.loads(builder.run("inspect", name, "--format", "json").out)


def packed():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        member = tarfile.TarInfo("inner")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"in"))
    return out.getvalue()


# --- ADD -----------------------------------------------------------------------------------------


def test_add_of_a_url(builder, site):
    site.answers["/d/file"] = Answer(b"data", headers={"ETag": '"1"'})
    site.answers["/t.tar.gz"] = Answer(packed())
    digest = hashlib.sha256(b"data").hexdigest()
    text = f"""\
FROM scratch
ADD {site.url}/d/file /one/
ADD --checksum=sha256:{digest} --chmod=640 {site.url}/d/file /two
ADD {site.url}/t.tar.gz /kept/
ADD --unpack {site.url}/t.tar.gz /unpacked/
"""
    out = exported(builder, text)
    assert (out / "one/file").read_text() == (out / "two").read_text() == "data"
    assert (out / "one/file").stat().st_mode & 0o777 == 0o600
    assert (out / "two").stat().st_mode & 0o777 == 0o640
    assert (out / "kept/t.tar.gz").read_bytes() == site.answers["/t.tar.gz"].body
    assert (out / "unpacked/inner").read_text() == "in"


def test_a_url_is_asked_again_and_what_changed_is_built_again(builder, site):
    context = builder.context({"Dockerfile": f"FROM scratch\nADD {site.url}/f /f\n"})
    site.answers["/f"] = Answer(b"old", headers={"ETag": '"1"'})
    old = builder.build(context)
    assert builder.build(context).step("ADD")["cached"]
    site.answers["/f"] = Answer(b"new", headers={"ETag": '"2"'})
    assert builder.build(context).digest != old.digest
    assert site.asked[1].headers["if-none-match"] == '"1"'


@pytest.mark.parametrize("checksum", ["0" * 64, "f" * 64])
def test_a_url_with_another_checksum_is_refused(builder, site, checksum):
    site.answers["/f"] = Answer(b"data")
    text = f"FROM scratch\nADD --checksum=sha256:{checksum} {site.url}/f /f\n"
    run = builder.build({"Dockerfile": text}, expect=None)
    assert run.code != 0
    assert checksum in run.err
    assert "Dockerfile:2\n" in run.err
    assert ">>> ADD --checksum" in run.err


def test_add_of_a_repository(builder, git):
    url = git.make("one", {"a": "first", "sub/b": "b"})
    commit = git.commit("one", {"a": "second"})
    git.git(git.folder / "one.git", "tag", "v1", "HEAD~1")
    text = f"""\
FROM scratch
ADD {url} /head/
ADD {url}#v1 /tag/
ADD {url}#main:sub /sub/
ADD {url}?ref=v1&subdir=sub /query/
ADD --keep-git-dir --checksum={commit} {url}#main /with/
"""
    out = exported(builder, text)
    assert (out / "head/a").read_text() == (out / "with/a").read_text() == "second"
    assert (out / "tag/a").read_text() == "first"
    assert (out / "sub/b").read_text() == (out / "query/b").read_text() == "b"
    assert not (out / "head/.git").exists()
    assert (out / "with/.git/HEAD").exists()


def test_a_repository_at_another_commit_is_refused(builder, git):
    url = git.make("one", {"a": "a"})
    text = f"FROM scratch\nADD --checksum={'0' * 40} {url}#main /\n"
    run = builder.build({"Dockerfile": text}, expect=None)
    assert run.code != 0
    assert "expected 0000" in run.err
    assert ">>> ADD --checksum" in run.err


def test_a_repository_that_nobody_serves_is_named_with_its_line(builder):
    text = "FROM scratch\nADD git://127.0.0.1:1/x.git /\n"
    run = builder.build({"Dockerfile": text}, expect=104)
    assert "Dockerfile:2\n" in run.err
    assert "Connection refused" in run.err


# --- the result ----------------------------------------------------------------------------------


def test_onbuild_of_a_pushed_image_runs_in_the_child_once(builder, registry, base, tmp_path):
    parent = f"{registry.host}/parent:1"
    text = f"FROM {base}\nONBUILD COPY a /from-child\nONBUILD RUN cat /from-child > /ran\n"
    builder.build({"Dockerfile": text}, "-t", parent, "--push")
    other = Builder(tmp_path / "other")
    run = other.build({"Dockerfile": f"FROM {parent}\n", "a": "child"}, "-t", "child")
    assert "ONBUILD COPY a /from-child" in run.err
    grand = other.build({"Dockerfile": "FROM child\n"}, "-t", "grandchild")
    assert "ONBUILD" not in grand.err
    text = "FROM child AS one\nFROM scratch\nCOPY --from=one /ran /\n"
    assert (exported(other, text) / "ran").read_text() == "child"


def test_target_arguments_labels_and_annotations(builder):
    (builder.folder / "arguments").write_text("# two\nA=from file\n\nB=file\n")
    text = """\
FROM scratch AS wanted
ARG A B C=default
LABEL args="$A|$B|$C" kept=old
COPY f /f
FROM wanted AS last
COPY missing /
"""
    flags = (
        *("--target", "wanted", "--build-arg-file", builder.folder / "arguments"),
        *("--build-arg", "B=flag", "--label", "kept=new", "--label", "more=1"),
        *("--annotation", "org.example.a=1", "--annotation", "manifest:org.example.b=2"),
    )
    builder.build({"Dockerfile": text, "f": "f"}, "-t", "x", *flags)
    manifest = json.loads(builder.run("inspect", "x", "--raw").out)
    assert manifest["annotations"] == {"org.example.a": "1", "org.example.b": "2"}
    config = json.loads((builder.root / blob(manifest["config"]["digest"])).read_text())
    labels = {"args": "from file|flag|default", "kept": "new", "more": "1"}
    assert config["config"]["Labels"] == labels


def blob(digest):
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM scratch\nCOPPY a /\n", ["Dockerfile:2", ">>> COPPY", "COPY"]),
        ("FROM scratch\nCOPY --chwon=1 a /\n", ["Dockerfile:2", "chwon", "chown"]),
        ("FROM scratch\nCOPY --from=nobody.invalid/x a /\n", ["Dockerfile:2", "nobody.invalid"]),
        ("FROM nobody.invalid/x\n", ["Dockerfile:1", "nobody.invalid"]),
        ("FROM scratch AS base\nFROM bsae\n", ["Dockerfile:2"]),
        ("FROM scratch\nCOPY missing /\n", ["Dockerfile:2", "missing"]),
    ],
)
def test_an_error_has_its_place_and_what_may_help(builder, text, words):
    run = builder.build({"Dockerfile": text, "a": "a"}, expect=None)
    assert run.code not in (0, 70)
    assert "Traceback" not in run.err
    for word in words:
        assert word in run.err

import os
import subprocess

import pytest

from lazybuild.errors import BuildError, IntegrityError, LazybuildError
from lazybuild.llb.ops import SourceOp
from lazybuild.snapshots.tree import walk
from lazybuild.sources.git import GitSources, request_of
from lazybuild.store import Store

AUTHOR = {
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b", "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000", "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1", "GIT_ALLOW_PROTOCOL": "file",
}  # fmt: skip


class Repository:
    """A repository on disk; the tests alone may use it over file://."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main", ".")

    def git(self, *arguments):
        env = {**os.environ, **AUTHOR}
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=env, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    def commit(self, files, message="m"):
        for name, data in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(data)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def op(self, fragment="", **attrs):
        pairs = {"git.fullurl": f"file://{self.path}"}
        pairs |= {f"git.{name}": value for name, value in attrs.items()}
        identifier = f"git://host/repo{'#' + fragment if fragment else ''}"
        return SourceOp(identifier=identifier, attrs=tuple(sorted(pairs.items())))


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repo")


@pytest.fixture
def sources(tmp_path):
    with Store(tmp_path / "store") as store:
        yield GitSources(store=store, environ={"PATH": os.environ["PATH"]}, protocols="file")


def files(sources, op):
    commit = sources.commit(op)
    with sources.checkout(op, commit) as found:
        return {path: (node.mode, node.link) for path, node in walk(found.tree) if path}, found


def test_the_default_branch(repository, sources):
    head = repository.commit({"a": "1", "d/b": "2"})
    (repository.path / "run").write_text("#!")
    (repository.path / "run").chmod(0o750)
    (repository.path / "l").symlink_to("/etc/passwd")
    head = repository.commit({})
    seen, found = files(sources, repository.op())
    assert found.commit == head
    assert found.time == 1700000000
    assert seen == {
        "a": (0o644, ""), "d": (0o755, ""), "d/b": (0o644, ""), "l": (0o777, "/etc/passwd"),
        "run": (0o755, ""),
    }  # fmt: skip
    assert os.listdir(sources.store.root / "tmp") == []


def test_refs_of_every_kind(repository, sources):
    one = repository.commit({"a": "1"})
    repository.git("tag", "-a", "v1", "-m", "x")
    repository.git("checkout", "-q", "-b", "side/way")
    two = repository.commit({"a": "2"})
    repository.git("checkout", "-q", "main")
    for ref, commit in (
        ("v1", one), ("refs/tags/v1", one), ("side/way", two), ("refs/heads/side/way", two),
        (one, one), (two, two), ("", one), ("HEAD", one),
    ):  # fmt: skip
        assert sources.commit(repository.op(ref)) == commit
        assert "a" in files(sources, repository.op(ref))[0]


def test_a_ref_that_is_not_there(repository, sources):
    repository.commit({"a": "1"})
    with pytest.raises(BuildError, match="no ref 'nope'"):
        sources.commit(repository.op("nope"))
    with pytest.raises(BuildError, match="in full"):
        sources.commit(repository.op("abcdef1"))


@pytest.mark.parametrize(
    "fragment",
    ["--upload-pack=x", "-x", "a b", "a\nb", "../x", "a..b", "x.lock", "$(id)", ":/x:-y"],
)
def test_refs_that_could_mean_something_else(repository, sources, fragment):
    repository.commit({"a": "1"})
    with pytest.raises(LazybuildError):
        files(sources, repository.op(fragment))


@pytest.mark.parametrize("remote", ["git://[::1/x", "git://[x]/y"])
def test_a_remote_that_is_no_url(sources, remote):
    with pytest.raises(BuildError, match="malformed URL"):
        sources.commit(SourceOp(identifier=remote))


@pytest.mark.parametrize("fragment", [":..", ":../..", ":d/../../x", "main:.."])
def test_directories_that_lead_out(repository, sources, fragment):
    repository.commit({"d/a": "1"})
    with pytest.raises(BuildError, match="leads out"):
        files(sources, repository.op(fragment))


def test_a_directory_of_the_repository(repository, sources):
    repository.commit({"d/e/a": "1", "b": "2"})
    assert set(files(sources, repository.op(":d"))[0]) == {"e", "e/a"}
    assert set(files(sources, repository.op("main:d/e/"))[0]) == {"a"}
    with pytest.raises(BuildError, match="no directory 'x'"):
        files(sources, repository.op(":x"))
    with pytest.raises(BuildError, match="no directory"):
        files(sources, repository.op(":b"))


def test_a_directory_that_is_a_link_stays_inside(repository, sources):
    (repository.path / "out").symlink_to("/etc")
    (repository.path / "in").symlink_to("d")
    repository.commit({"d/a": "1"})
    with pytest.raises(BuildError, match="no directory 'out'"):
        files(sources, repository.op(":out"))
    assert set(files(sources, repository.op(":in"))[0]) == {"a"}


def test_the_git_directory_only_when_asked_for(repository, sources):
    repository.commit({"a": "1"})
    assert ".git" not in files(sources, repository.op())[0]
    seen, _ = files(sources, repository.op(keepgitdir="true"))
    assert ".git/HEAD" in seen
    op = repository.op(keepgitdir="true")
    with (
        sources.checkout(op, sources.commit(op)) as found,
        found.tree.open(".git/config") as stream,
    ):
        config = stream.read().decode()
    assert "extraheader" not in config.lower()


def test_checksums(repository, sources):
    head = repository.commit({"a": "1"})
    assert sources.commit(repository.op(checksum=head)) == head
    assert sources.commit(repository.op("main", checksum=head[:10])) == head
    with pytest.raises(IntegrityError, match="expected 0000000"):
        sources.commit(repository.op(checksum="0" * 10))
    with pytest.raises(BuildError, match="is not"):
        sources.commit(repository.op(checksum="sha256:" + "0" * 64))


def test_times_of_the_commit(repository, sources):
    repository.commit({"a": "1"})
    op = repository.op(mtime="commit")
    with sources.checkout(op, sources.commit(op)) as found:
        assert found.tree.lookup("a").mtime == 1700000000_000_000_000


def test_submodules(repository, sources, tmp_path):
    inner = Repository(tmp_path / "inner")
    inner.commit({"i": "1"})
    repository.git("-c", "protocol.file.allow=always", "submodule", "add", "-q",
                   f"file://{inner.path}", "sub")  # fmt: skip
    repository.commit({"a": "1"})
    assert set(files(sources, repository.op())[0]) == {".gitmodules", "a", "sub", "sub/i"}
    skipped, _ = files(sources, repository.op(skipsubmodules="true"))
    assert set(skipped) == {".gitmodules", "a", "sub"}


def test_submodules_over_a_protocol_that_is_not_allowed(repository, sources, tmp_path):
    inner = Repository(tmp_path / "inner")
    inner.commit({"i": "1"})
    repository.git("-c", "protocol.file.allow=always", "submodule", "add", "-q",
                   f"file://{inner.path}", "sub")  # fmt: skip
    text = (repository.path / ".gitmodules").read_text().replace("file://", "ext::sh -c touch% ")
    repository.commit({".gitmodules": text})
    with pytest.raises(BuildError, match="not allowed"):
        files(sources, repository.op())


def test_local_paths_are_no_repositories(repository, tmp_path):
    repository.commit({"a": "1"})
    with Store(tmp_path / "other") as store:
        strict = GitSources(store=store, environ={"PATH": os.environ["PATH"]})
        with pytest.raises(BuildError, match="not allowed"):
            strict.commit(repository.op())
        op = SourceOp(identifier="git://h/r", attrs=(("git.fullurl", "ext::sh -c id"),))
        with pytest.raises(BuildError):
            strict.commit(op)
        op = SourceOp(identifier="git://h/r", attrs=(("git.fullurl", "--upload-pack=id"),))
        with pytest.raises(BuildError, match="dash"):
            strict.commit(op)


def test_hooks_and_filters_do_not_run(repository, sources, tmp_path):
    witness = tmp_path / "witness"
    repository.commit({".gitattributes": "* filter=evil\n", "a": "1"})
    config = f'[core]\n\thooksPath = /tmp\n[filter "evil"]\n\tsmudge = touch {witness}\n'
    (repository.path / ".git/hooks").mkdir(exist_ok=True)
    hook = repository.path / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {witness}\n")
    hook.chmod(0o755)
    with (repository.path / ".git/config").open("a") as out:
        out.write(config)
    assert "a" in files(sources, repository.op())[0]
    assert not witness.exists()


def test_a_commit_that_is_known_needs_no_network(repository, sources):
    head = repository.commit({"a": "1"})
    files(sources, repository.op(head))
    os.rename(repository.path, repository.path.with_name("moved"))
    assert "a" in files(sources, repository.op(head))[0]


def test_credentials_go_by_environment_and_to_their_host_only(sources):
    secret = {"GIT_AUTH_TOKEN.example.com": b"hush\n", "GIT_AUTH_TOKEN": b"other"}
    with_secret = GitSources(
        store=sources.store, environ={"PATH": os.environ["PATH"]}, secrets=secret.get
    )

    def made(url):
        op = SourceOp(identifier="git://x/y", attrs=(("git.fullurl", url),))
        return with_secret._git(op, request_of(op)).extra

    (key,) = made("https://example.com/x.git")
    assert key == "http.https://example.com/.extraHeader"
    assert "eC1hY2Nlc3MtdG9rZW46aHVzaA==" in made("https://example.com/x.git")[key]
    assert made("ssh://git@example.com/x.git") == {}


def test_errors_show_no_credentials(sources):
    strict = GitSources(store=sources.store, environ={"PATH": os.environ["PATH"]})
    op = SourceOp(
        identifier="git://h/r", attrs=(("git.fullurl", "http://me:hush@127.0.0.1:1/r.git"),)
    )
    with pytest.raises(LazybuildError) as caught:
        strict.commit(op)
    assert "hush" not in str(caught.value)

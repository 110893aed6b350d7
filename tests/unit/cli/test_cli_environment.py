"""The variables that scripts for other builders set."""

import subprocess

import pytest

from lazybuild.cli import build, environment, views
from lazybuild.errors import UsageError


def parsed(*flags):
    return dict(build.command.make_context("build", [*flags, "."]).params)


def told(monkeypatch, **variables):
    said = []
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    environment.check(said.append)
    return said


def test_there_is_no_older_builder(monkeypatch):
    assert told(monkeypatch, DOCKER_BUILDKIT="1") == []
    assert "DOCKER_BUILDKIT=0" in told(monkeypatch, DOCKER_BUILDKIT="0")[0]


def test_a_source_policy_is_not_overlooked(monkeypatch):
    with pytest.raises(UsageError, match="SOURCE_POLICY"):
        told(monkeypatch, EXPERIMENTAL_BUILDKIT_SOURCE_POLICY="policy.json")


def test_the_platform_and_the_isolation_of_scripts(monkeypatch):
    assert (parsed()["platform"], parsed()["isolation"]) == ((), "")
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
    monkeypatch.setenv("BUILDAH_ISOLATION", "chroot")
    assert (parsed()["platform"], parsed()["isolation"]) == (("linux/arm64",), "chroot")
    assert parsed("--platform", "linux/amd64")["platform"] == ("linux/amd64",)


def test_the_progress_of_scripts(monkeypatch):
    monkeypatch.setenv("BUILDKIT_PROGRESS", "rawjson")
    assert parsed()["progress"] == "rawjson"
    assert parsed("--progress", "plain")["progress"] == "plain"


@pytest.mark.parametrize("name", ["CI", "TERM"])
def test_auto_does_not_draw_in_ci_or_on_a_dumb_terminal(monkeypatch, name):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv(name, {"CI": "true", "TERM": "dumb"}[name])
    assert type(views.open_view("auto")).__name__ == "PlainView"


@pytest.fixture
def repository(tmp_path):
    def git(*words):
        run = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=n@x", *words]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Dockerfile").write_text("FROM scratch\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "m")
    git("remote", "add", "origin", "https://me:secret@example.org/a.git")
    return git


def test_labels_of_the_repository_when_asked_for(monkeypatch, tmp_path, repository):
    context = str(tmp_path / "in")
    assert environment.labels(context, "") == {}
    monkeypatch.setenv("BUILDX_GIT_LABELS", "1")
    head = repository("rev-parse", "HEAD")
    assert environment.labels(context, "") == {
        environment.REVISION: head,
        environment.ENTRYPOINT: "in/Dockerfile",
    }
    monkeypatch.setenv("BUILDX_GIT_LABELS", "full")
    assert environment.labels(context, "")[environment.SOURCE] == "https://example.org/a.git"
    (tmp_path / "in" / "new").touch()
    assert environment.labels(context, "")[environment.REVISION] == f"{head}-dirty"


def test_no_repository_no_labels(monkeypatch, tmp_path):
    monkeypatch.setenv("BUILDX_GIT_LABELS", "1")
    assert environment.labels(str(tmp_path), "") == {}
    assert environment.labels("https://example.org/a.git", "") == {}
    monkeypatch.setenv("PATH", "/nowhere")
    assert environment.labels(str(tmp_path), "") == {}

"""The variables that scripts for other builders set."""

import io
import subprocess

import pytest

from lazybuild.cli import build, environment, views
from lazybuild.errors import UsageError
from lazybuild.events import VertexDone


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


def test_how_a_terminal_is_drawn_on(monkeypatch):
    assert environment.look().log_lines == 6
    monkeypatch.setenv("BUILDKIT_TTY_LOG_LINES", "2")
    monkeypatch.setenv("BUILDKIT_COLORS", "run=green:error=255,0,10:other=x:warning")
    found = environment.look()
    assert found.log_lines == 2
    assert found.colours == {"run": "green", "error": "rgb(255,0,10)"}
    out = Terminal()
    monkeypatch.setattr("sys.stderr", out)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    view = views.open_view("tty")
    view(VertexDone(vertex="sha256:a", name="[1/2] RUN a", time=1.0))
    view(VertexDone(vertex="sha256:b", name="[2/2] RUN b", error="no", time=1.0))
    view.close()
    assert "\x1b[32m => [1/2] RUN a" in out.getvalue()
    assert "\x1b[38;2;255;0;10m => ERROR [2/2] RUN b" in out.getvalue()


def test_no_colour_is_no_colour(monkeypatch):
    out = Terminal()
    monkeypatch.setattr("sys.stderr", out)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    view = views.open_view("tty")
    view(VertexDone(vertex="sha256:a", name="[1/2] RUN a", time=1.0))
    view.close()
    assert "\x1b[3" not in out.getvalue()


@pytest.mark.parametrize(
    ("name", "value"), [("BUILDKIT_TTY_LOG_LINES", "many"), ("BUILDKIT_COLORS", "run=no such")]
)
def test_a_look_that_can_not_be_had_is_said(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=name):
        views.open_view("tty")


class Terminal(io.StringIO):
    def isatty(self):
        return True

"""How errors are shown, and which exit code each has."""

import io

import pytest

from lazybuild import errors
from lazybuild.cli import failure
from lazybuild.cli.progress.steps import Step
from lazybuild.errors import BuildError, DockerfileError, LazybuildError, Span, StepFailedError

SOURCE = "FROM base\nRUN one\nRUN two \\\n  three\nRUN four\nRUN five\nRUN six\nRUN seven\n"


def shown(error, step=None):
    out = io.StringIO()
    failure.show(error, out, step)
    return out.getvalue()


def test_message_and_hint():
    assert shown(LazybuildError("it broke", hint="mend it")) == "ERROR: it broke\nhint: mend it\n"


def test_the_excerpt_marks_the_lines_of_the_instruction():
    span = Span(path="Dockerfile", line=3, end_line=4)
    text = shown(DockerfileError("no", span=span, source=SOURCE))
    head, *lines, last = text.splitlines()
    assert (head, last) == ("Dockerfile:3", "ERROR: no")
    marked = [line for line in lines if ">>>" in line]
    assert marked == ["   3 | >>> RUN two \\", "   4 | >>>   three"]
    assert "   2 |     RUN one" in lines
    assert "   5 |     RUN four" in lines


def test_columns_are_underlined():
    span = Span(path="Dockerfile", line=2, end_line=2, column=5, end_column=8)
    assert "   2 | >>> RUN one\n     |         ^^^\n" in shown(
        DockerfileError("no", span=span, source=SOURCE)
    )


def test_control_sequences_of_the_dockerfile_are_not_passed_on():
    span = Span(path="Dockerfile", line=1, end_line=1)
    assert "\x1b" not in shown(DockerfileError("no", span=span, source="RUN \x1b[2Jx\n"))


def test_a_build_error_may_have_a_place_too():
    error = BuildError("no such file")
    assert shown(error) == "ERROR: no such file\n"
    error.span, error.source = Span(path="Dockerfile", line=1, end_line=1), SOURCE
    assert "   1 | >>> FROM base\n" in shown(error)


def test_the_tail_of_a_failed_step():
    step = Step(number=3, name="[2/2] RUN make", started=0.0)
    step.lines(1, b"compiling\n\x1b[31merror: x\x1b[0m\n")
    error = StepFailedError('process "make" did not complete successfully', status=2)
    assert shown(error, step).startswith(
        "------\n > [2/2] RUN make:\ncompiling\nerror: x\n------\nERROR: process"
    )


def test_other_errors_show_no_tail():
    step = Step(number=3, name="[2/2] RUN make", started=0.0)
    assert "RUN make" not in shown(BuildError("x"), step)


def test_annotations_on_github(monkeypatch):
    span = Span(path="a,b:c/Dockerfile", line=3, end_line=3)
    error = DockerfileError("100% wrong\n::warning::injected", span=span, source=SOURCE)
    assert "::error" not in shown(error)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    last = shown(error).splitlines()[-1]
    assert last == ("::error file=a%2Cb%3Ac/Dockerfile,line=3::100%25 wrong%0A::warning::injected")


CODES = {
    LazybuildError("x"): 1,
    errors.UsageError("x"): 2,
    DockerfileError("x"): 1,
    errors.NotSupportedYetError("x"): 1,
    BuildError("x"): 1,
    StepFailedError("x", status=7): 1,
    errors.IntegrityError("x"): 1,
    errors.RegistryError("x"): 104,
    errors.ResourceError("x"): 102,
    errors.HostError("x"): 125,
    RuntimeError("x"): 100,
}


@pytest.mark.parametrize(("error", "code"), CODES.items(), ids=lambda it: type(it).__name__)
def test_exit_codes(error, code):
    assert failure.exit_code(error) == code


def test_an_error_of_a_stranger_commands_nobody(monkeypatch):
    hostile = "\x1b]0;title\x07a\n::set-env name=X::y"
    error = BuildError(hostile, hint=hostile)
    error.span, error.source = Span(path=hostile, line=1, end_line=1), "FROM x\n"
    for on_github in ("", "true"):
        monkeypatch.setenv("GITHUB_ACTIONS", on_github)
        text = shown(error)
        assert "title" not in text
        assert "\x1b" not in text
    commands = [line for line in text.splitlines() if line.startswith("::")]
    assert len(commands) == 1, "the annotation that is ours"

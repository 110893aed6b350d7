"""Turns an error into what the user sees and the code the process ends with."""

import os
from collections.abc import Iterator
from typing import TextIO

from lazybuild.cli.progress.escape import github, lines, one_line, plain_text
from lazybuild.cli.progress.steps import Step
from lazybuild.dockerfile.excerpt import excerpt
from lazybuild.errors import (
    EXIT_BUG,
    LazybuildError,
    Span,
    StepFailedError,
)


def show(error: LazybuildError, out: TextIO, step: Step | None = None) -> None:
    """The last output of the failed step, the excerpt of the Dockerfile, the message, the hint."""
    span = error.span
    on_github = os.environ.get("GITHUB_ACTIONS") == "true"
    text = "".join(_parts(error, span, step))
    out.write(lines(text, github if on_github else plain_text))  # no command for whoever reads it
    if span is not None and on_github:
        out.write(github_annotation(error.message, span))
    out.flush()


def _parts(error: LazybuildError, span: Span | None, step: Step | None) -> Iterator[str]:
    if step is not None and isinstance(error, StepFailedError):
        yield tail_block(step)
    if span is not None:
        yield excerpt(error.source, span) or f"{span.path}:{span.line}\n"
    yield from (f"{note}\n" for note in getattr(error, "__notes__", ()))
    target = f"target {error.target}: " if error.target else ""
    yield f"ERROR: {target}{error.message}\n"
    if error.hint:
        yield f"hint: {error.hint}\n"


def tail_block(step: Step) -> str:
    lines = "".join(f"{plain_text(line)}\n" for line in step.tail)
    return f"------\n > {step.name}:\n{lines}------\n"


def github_annotation(message: str, span: Span) -> str:
    """A workflow command that puts the error beside the line (GitHub, "Workflow commands")."""
    escaped = plain_text(message).replace("%", "%25").replace("\n", "%0A")
    path = one_line(span.path).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::error file={path},line={span.line}::{escaped}\n"


def exit_code(error: BaseException) -> int:
    if isinstance(error, LazybuildError):
        return error.exit_code
    return EXIT_BUG

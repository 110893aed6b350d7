"""Questions about a Dockerfile instead of a build of it: outline, targets, lint, the graph, and
what can be asked. Pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lazybuild.dockerfile import checks, lint, outline, targets
from lazybuild.dockerfile.compile import compile as compile_document
from lazybuild.dockerfile.gojson import Json, indented, table
from lazybuild.dockerfile.nodes import Document
from lazybuild.dockerfile.options import CompileOptions, Resolver
from lazybuild.wire.encode import Style, encode
from lazybuild.wire.readable import readable

DESCRIBE = "frontend.subrequests.describe"
DESCRIBE_VERSION = "1.0.0"
GRAPH = "frontend.convertllb"
GRAPH_VERSION = "0.1.0"

Answer = Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about; the options are those of the build that it would be, `style` is how its
    graph would be written.
    """

    document: Document
    options: CompileOptions
    resolver: Resolver
    style: Style


def _outline(asked: Question) -> Answer:
    found = outline.outline(asked.document, asked.options)
    text, whole = outline.outline_text(found), outline.outline_json(found, asked.document)
    return _answer(whole, text, outline.VERSION)


def _targets(asked: Question) -> Answer:
    text, whole = targets.targets_text(asked.document), targets.targets_json(asked.document)
    return _answer(whole, text, targets.VERSION)


def _lint(asked: Question) -> Answer:
    report = checks.check(asked.document, asked.options, asked.resolver)
    text = lint.lint_text(report) + lint.lint_error_text(report)
    answer = _answer(lint.lint_json(report), text, lint.VERSION)
    return {**answer, "result.statuscode": str(lint.lint_status(report)).encode()}


def _graph(asked: Question) -> Answer:
    """For one platform; there is no form of it for people."""
    made = compile_document(asked.document, asked.options, asked.resolver)
    found = indented(readable(encode(made.head, asked.style)))
    return {"result.json": found.encode("utf-8", "replace"), "version": GRAPH_VERSION.encode()}


KNOWN: Mapping[str, tuple[Callable[[Question], Answer], str, str]] = {
    "frontend.outline": (
        _outline,
        outline.VERSION,
        "List all parameters current build target supports",
    ),
    "frontend.targets": (_targets, targets.VERSION, "List all targets current build supports"),
    "frontend.lint": (_lint, lint.VERSION, "Lint a Dockerfile"),
    GRAPH: (_graph, GRAPH_VERSION, "Convert Dockerfile to LLB"),
}


def describe() -> Answer:
    """Which questions can be asked."""
    rows = [(name, version, text) for name, (_, version, text) in KNOWN.items()]
    rows.append((DESCRIBE, DESCRIBE_VERSION, "List available subrequest types"))
    listed: list[Json] = [_request(*row) for row in rows]
    shown = [(name.removeprefix("frontend."), *rest) for name, *rest in rows]
    text = table([("NAME", "VERSION", "DESCRIPTION"), *shown], padding=1)
    return _answer(indented(listed), text, DESCRIBE_VERSION)


def _request(name: str, version: str, text: str) -> Json:
    metadata: list[Json] = [{"Name": "result.json"}]
    if name != GRAPH:
        metadata.append({"Name": "result.txt"})
    return {
        "Name": name,
        "Version": version,
        "Type": "rpc",
        "Description": text,
        "Opts": [{"Name": "target", "Description": "Target build stage"}],
        "Inputs": None,
        "Metadata": metadata,
        "Refs": None,
    }


def _answer(whole: str, text: str, version: str) -> Answer:
    return {
        "result.json": whole.encode("utf-8", "replace"),
        "result.txt": text.encode("utf-8", "replace"),
        "version": version.encode(),
    }

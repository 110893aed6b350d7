"""The `lint` subrequest: a report of checks as text, JSON and a status. Pure.

The form is the reference's. The line that counts the warnings is the command line's business.
"""

from lazybuild.dockerfile.checks import Report
from lazybuild.dockerfile.excerpt import excerpt
from lazybuild.dockerfile.gojson import Json, content, indented, location, without_empty
from lazybuild.dockerfile.nodes import Finding
from lazybuild.dockerfile.rules import RULES
from lazybuild.errors import DockerfileError, Span

VERSION = "1.0.0"


def lint_text(report: Report) -> str:
    return "".join(_finding_text(finding, report) for finding in report.findings)


def lint_error_text(report: Report) -> str:
    """Why it would not build, with the place; empty when it would."""
    if report.error is None:
        return ""
    span = _place(report)
    where = excerpt(report.document.source, span) if span else ""
    return f"{report.error.message}\n{where}"


def lint_json(report: Report) -> str:
    source: Json = {
        "filename": report.document.path,
        "data": content(report.document.source),
        "language": "Dockerfile",
    }
    warnings: list[Json] = [_finding_json(finding) for finding in report.findings]
    members: dict[str, Json] = {"warnings": warnings or None, "sources": [source]}
    if report.error is not None:
        span = _place(report)
        where = location(span) if span else {}
        members["buildError"] = {"message": report.error.message, "location": where}
    return indented(members)


def lint_status(report: Report) -> int:
    return 1 if report.findings or report.error else 0


def _place(report: Report) -> Span | None:
    return report.error.span if isinstance(report.error, DockerfileError) else None


def _finding_text(finding: Finding, report: Report) -> str:
    rule = RULES[finding.rule]
    address = f" - {rule.url}" if rule.url else ""
    where = excerpt(report.document.source, finding.span, underline=False)
    return f"\nWARNING: {rule.name}{address}\n{finding.message}\n{where}"


def _finding_json(finding: Finding) -> Json:
    rule = RULES[finding.rule]
    optional: dict[str, Json] = {
        "description": rule.description,
        "url": rule.url,
        "detail": finding.message,
        "location": location(finding.span),
    }
    return {"ruleName": rule.name, **without_empty(optional)}

"""What a Dockerfile says without being built: checks, the outline of a target, the targets."""

from lazybuild.build import extra, inputs, translate
from lazybuild.build.collect import Collector
from lazybuild.build.engine import Engine
from lazybuild.build.inputs import Inputs
from lazybuild.build.resolver import ImageResolver
from lazybuild.build.run import open_space
from lazybuild.build.workbench import Workbench
from lazybuild.dockerfile import checks, lint, outline, targets
from lazybuild.dockerfile.options import MAIN_CONTEXT
from lazybuild.errors import LazybuildError, UsageError
from lazybuild.events import Sink
from lazybuild.request import BuildRequest
from lazybuild.sources.images import Images

CALLS = ("check", "outline", "targets")


def call(request: BuildRequest, method: str, sink: Sink, *, json: bool) -> tuple[str, int]:
    """The answer as text or JSON, and the code to end with: 1 when a check found something."""
    given = inputs.read(request)
    try:
        if given.frontend is not None:
            return _asked(request, given, method, sink, json=json)
        return _answer(request, given, method, sink, json=json)
    except LazybuildError as error:
        error.source = error.source or given.source
        raise


def _asked(
    request: BuildRequest, given: Inputs, method: str, sink: Sink, *, json: bool
) -> tuple[str, int]:
    """What the frontend of the file says itself."""
    frontend = given.frontend
    with extra.libraries(f"the frontend {frontend.image if frontend else ''}"):
        from lazybuild.build import bridged  # noqa: PLC0415 - an extra
    events = Collector(sink)
    with open_space(request, events) as space, bridged.granted(given) as granted:
        space.enter()
        bench = Workbench(space, [request])
        engine = Engine(space, request, bench, granted.directories, events=events, name="")
        said = bridged.ask(space, request, granted, engine, events, method=method)
    return bridged.answer(said, json=json)


def _answer(
    request: BuildRequest, given: Inputs, method: str, sink: Sink, *, json: bool
) -> tuple[str, int]:
    options = translate.compile_options(request, given)
    if method == "targets":
        show = targets.targets_json if json else targets.targets_text
        return show(given.document), 0
    if method == "outline":
        found = outline.outline(given.document, options)
        if json:
            return outline.outline_json(found, given.document), 0
        return outline.outline_text(found), 0
    if method != "check":
        raise UsageError(f"--call {method}: not a method", hint=", ".join(("build", *CALLS)))
    with open_space(request, sink) as space:
        images = Images(space.store, space.registry, pull=request.pull)
        root = given.directories.get(MAIN_CONTEXT)
        resolver = ImageResolver(images, sink, store=space.store, root=root)
        report = checks.check(given.document, options, resolver)
    if json:
        return lint.lint_json(report), lint.lint_status(report)
    return _text(report), lint.lint_status(report)


def _text(report: checks.Report) -> str:
    count = len(report.findings)
    if report.error is not None:
        return f"{lint.lint_text(report)}\nERROR: {lint.lint_error_text(report)}"
    if not count:
        return "Check complete, no warnings found.\n"
    ending = "warning has" if count == 1 else "warnings have"
    return f"Check complete, {count} {ending} been found!\n{lint.lint_text(report)}"

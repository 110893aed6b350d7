"""The build checks of a document: what each rule has to say, and what is switched off.

Rules that look at text are in `checks_text`, rules that follow a stage in `checks_stage`. Two need
a real environment or a real image (UndefinedVar, InvalidBaseImagePlatform): the lowering notes
them, and they come in as `noted`. No I/O but through a Resolver.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from lazybuild.dockerfile.args import global_scope, predefined
from lazybuild.dockerfile.checks_stage import StageChecks
from lazybuild.dockerfile.checks_text import Found, TextChecks
from lazybuild.dockerfile.compile import compile as compile_document
from lazybuild.dockerfile.ignore import IgnoreRules
from lazybuild.dockerfile.instructions import Arg
from lazybuild.dockerfile.nodes import Document, Finding
from lazybuild.dockerfile.options import Compiled, CompileOptions, Resolver
from lazybuild.dockerfile.rules import Choice, parse_choice
from lazybuild.dockerfile.scope import Globals
from lazybuild.dockerfile.stages import Stage, split
from lazybuild.dockerfile.words import Words
from lazybuild.errors import DockerfileError, LazybuildError

CHECK_ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"

_OF_THE_FILE = frozenset({"NoEmptyContinuation", "InvalidBaseImagePlatform"})
"""Noted rules that comments above an instruction don't switch off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `check` says: findings in the order of lines, and why it would not build, if so."""

    document: Document
    findings: tuple[Finding, ...]
    choice: Choice
    error: LazybuildError | None = None


def findings(
    document: Document, options: CompileOptions, compiled: Compiled | None = None
) -> tuple[Finding, ...]:
    """For a build: rules that follow steps look only at the stages which the target needs."""
    needed = None
    if compiled is not None:
        needed = {at for at, stage in enumerate(compiled.stages) if stage.reachable}
    noted = document.warnings if compiled is None else compiled.warnings
    return _chosen(document, options, noted, needed)


def check(document: Document, options: CompileOptions, resolver: Resolver) -> Report:
    """For `check`: all stages, or with a target what it needs. Compiles, but builds nothing."""
    noted: list[Finding] = list(document.warnings)
    needed: set[int] = set()
    error: LazybuildError | None = None
    for stage, part, given in _parts(document, options):
        if stage in needed:
            continue
        try:
            compiled = compile_document(part, given, resolver)
        except LazybuildError as failure:
            error = error or failure
        else:
            noted.extend(compiled.warnings)
            needed |= {at for at, info in enumerate(compiled.stages) if info.reachable}
    only = needed if options.target and not error else None
    return Report(
        document=document,
        findings=_chosen(document, options, noted, only),
        choice=choice_of(document, options.build_args),
        error=error,
    )


def violation(found: Iterable[Finding], choice: Choice) -> DockerfileError | None:
    """The error that `error=true` makes of findings."""
    rules = list(dict.fromkeys(finding.rule for finding in found))
    if not choice.error or not rules:
        return None
    return DockerfileError(f"lint violation found for rules: {', '.join(rules)}")


def choice_of(document: Document, build_args: Mapping[str, str]) -> Choice:
    """What is switched on in the whole file; the build argument stands in for the directive."""
    text = build_args.get(CHECK_ARGUMENT, document.directives.check)
    try:
        return parse_choice(text)
    except DockerfileError as error:
        raise DockerfileError(
            f"failed to parse check options: {error.message}",
            span=document.directives.check_span,
            source=document.source,
        ) from error


def _parts(
    document: Document, options: CompileOptions
) -> Iterator[tuple[int, Document, CompileOptions]]:
    """What to compile to see every stage, later ones first, with the number of the stage it is.

    A stage that no name leads to is compiled as the last one of a document that ends with it.
    """
    _, stages = split(document)
    if options.target:
        yield -1, document, options
        return
    quiet, end, later = replace(document, warnings=()), len(document.nodes), set[str]()
    for stage in reversed(stages):
        if stage.name and stage.name not in later:
            yield stage.index, quiet, replace(options, target=stage.name)
        else:
            yield stage.index, replace(quiet, nodes=document.nodes[:end]), options
        later.add(stage.name)
        end -= 1 + len(stage.steps)


def _chosen(
    document: Document,
    options: CompileOptions,
    noted: Iterable[Finding],
    needed: Collection[int] | None,
) -> tuple[Finding, ...]:
    choice = choice_of(document, options.build_args)
    spoken = {
        found.finding: None
        for found in (*_noted(document, noted), *_static(document, options, needed))
        if choice.for_comments(found.comments).allows(found.finding.rule)
    }
    return tuple(sorted(spoken, key=lambda finding: finding.span.line))


def _noted(document: Document, noted: Iterable[Finding]) -> Iterator[Found]:
    above = {node.span.line: node.comments for node in document.nodes}
    for finding in noted:
        comments = () if finding.rule in _OF_THE_FILE else above.get(finding.span.line, ())
        yield Found(finding, comments)


def _static(
    document: Document, options: CompileOptions, needed: Collection[int] | None
) -> Iterator[Found]:
    arguments, stages = split(document)
    words = Words(document.escape)
    scope = _scope(arguments, stages, words, options)
    text = TextChecks(
        document=document,
        arguments=arguments,
        stages=stages,
        words=words,
        scope=scope or {},
        defaults=_scope(arguments, stages, words, replace(options, build_args={})),
    )
    yield from text.run()
    steps = StageChecks(
        stages=stages,
        shared=Globals(words=words, scope=scope or {}, build_args=options.build_args),
        ignored=IgnoreRules.of(options.ignored),
    )
    for index, found in steps.run():
        if needed is None or index in needed:
            yield found


def _scope(
    arguments: tuple[Arg, ...], stages: tuple[Stage, ...], words: Words, options: CompileOptions
) -> dict[str, str] | None:
    """The global arguments, or nothing when one of them can't be evaluated."""
    start = predefined(options, options.target or stages[-1].name)
    try:
        return global_scope(start, arguments, options.build_args, words)
    except DockerfileError:
        return None

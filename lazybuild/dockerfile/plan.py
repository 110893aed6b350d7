"""The plan: a draft for each stage, linked to its base and to what it copies from. Pure.

Names are settled here (section 3 and 4 of the language): FROM sees global arguments only, a later
stage of the same name hides an earlier one, `--from` takes a number or a name, and a name that is
no stage is an image or a named context. Cycles are refused.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lazybuild.dockerfile import platforms
from lazybuild.dockerfile.draft import Draft, Planned
from lazybuild.dockerfile.hints import hint
from lazybuild.dockerfile.instructions import Copy, Run, Step
from lazybuild.dockerfile.mounts import mount_stage
from lazybuild.dockerfile.named import lookup
from lazybuild.dockerfile.options import CompileOptions
from lazybuild.dockerfile.stages import Stage
from lazybuild.dockerfile.words import Words, placed
from lazybuild.errors import DockerfileError, Span
from lazybuild.llb.ops import Platform


@dataclass(slots=True, kw_only=True)
class Plan:
    """The drafts in the order of their stages; images that steps copy from come last."""

    drafts: list[Draft] = field(default_factory=list)
    by_name: dict[str, Draft] = field(default_factory=dict)
    images: dict[str, Draft] = field(default_factory=dict)

    def source(self, name: str, span: Span) -> Draft:
        """The stage, image or context that a `from` names."""
        return self.by_name.get(name.lower()) or self._image(name, span)

    def numbered(self, text: str, span: Span) -> Draft:
        stages = [draft for draft in self.drafts if draft.stage]
        index = int(text[:9])
        if not 0 <= index < len(stages):
            raise DockerfileError(f"invalid stage index {text}", span=span)
        return stages[index]

    def _image(self, name: str, span: Span) -> Draft:
        if name not in self.images:
            self.images[name] = Draft(base_name=name, span=span)
            self.drafts.append(self.images[name])
        return self.images[name]

    def target(self, name: str) -> Draft:
        if not name:
            return [draft for draft in self.drafts if draft.stage][-1]
        draft = self.by_name.get(name.lower())
        if draft is None:
            raise DockerfileError(
                f'target stage "{name}" could not be found', hint=hint(name, self.by_name)
            )
        return draft


def make_plan(
    stages: Iterable[Stage], scope: Mapping[str, str], words: Words, options: CompileOptions
) -> Plan:
    plan = Plan()
    for stage in stages:
        _add_stage(plan, stage, scope, words, options)
    for draft in list(plan.drafts):
        for step in draft.stage.steps if draft.stage and not draft.context_name else ():
            draft.steps.append(plan_step(plan, draft, step, words))
        draft.count_steps()
    _refuse_cycles(plan.drafts)
    if len(plan.drafts) == 1 and not _has_mounts(plan.drafts[0]):
        plan.drafts[0].shown = ""
    return plan


def _has_mounts(draft: Draft) -> bool:
    """To the reference each mount is a stage that is mounted from, and so a reason for names."""
    return any(isinstance(planned.step, Run) and planned.step.mounts for planned in draft.steps)


def _add_stage(
    plan: Plan, stage: Stage, scope: Mapping[str, str], words: Words, options: CompileOptions
) -> None:
    opening = stage.opening
    with placed(opening.span):
        base_name = words.expand(opening.base, scope)
    if not base_name:
        raise DockerfileError(
            f"base name ({opening.base}) should not be blank",
            span=opening.span,
            hint=_unset_hint(opening.base, scope, words),
        )
    draft = Draft(
        base_name=base_name,
        span=opening.span,
        stage=stage,
        shown=stage.shown,
        platform=_platform(stage, scope, words),
        marked_platform=options.multi_platform,
        ignore_cache=_uncached(stage.name, options),
    )
    if stage.name and lookup(options, stage.name, draft.platform):
        draft.context_name = stage.name
    else:
        draft.base = plan.by_name.get(base_name.lower())
    plan.drafts.append(draft)
    if stage.name:
        plan.by_name[stage.name] = draft


def _platform(stage: Stage, scope: Mapping[str, str], words: Words) -> Platform | None:
    text = stage.opening.platform
    if not text:
        return None
    with placed(stage.opening.span):
        value = words.expand(text, scope)
    if not value:
        raise DockerfileError(
            f"empty platform value from expression {text}",
            span=stage.opening.span,
            hint=_unset_hint(text, scope, words),
        )
    return platforms.parse(value, stage.opening.span)


def _unset_hint(text: str, scope: Mapping[str, str], words: Words) -> str:
    """A global argument that may have been meant by one that isn't set."""
    unset = sorted(words.process(text, scope).unset)
    return next((near for name in unset if (near := hint(name, scope))), "")


def _uncached(name: str, options: CompileOptions) -> bool:
    if options.no_cache is None:
        return False
    return not options.no_cache or name in {stage.lower() for stage in options.no_cache}


def plan_step(
    plan: Plan, draft: Draft, step: Step, words: Words, *, triggered: bool = False
) -> Planned:
    """A step with its sources found; they become needs of the draft."""
    sources: tuple[Draft | None, ...] = ()
    if isinstance(step, Copy) and step.source_stage:
        sources = (_copy_source(plan, step, words),)
    elif isinstance(step, Run):
        names = [(mount_stage(flag), flag.span) for flag in step.mounts]
        sources = tuple(plan.source(name, span) if name else None for name, span in names)
    for source in sources:
        if source is not None:
            draft.needs.setdefault(source, step.span)
    return Planned(step=step, sources=sources, triggered=triggered)


def _copy_source(plan: Plan, step: Copy, words: Words) -> Draft:
    name, span = step.source_stage, step.source_span or step.span
    with placed(span):
        expanded = words.expand(name, {})
    if expanded != name:
        raise DockerfileError(
            "variable expansion is not supported for --from",
            span=span,
            hint="define a new stage with FROM using ARG from global scope as a workaround",
        )
    digits = name.removeprefix("-")
    if digits.isascii() and digits.isdigit():
        return plan.numbered(name, span)
    return plan.source(name, span)


def reachable(target: Draft) -> set[Draft]:
    """The target and everything it is made from."""
    found: set[Draft] = set()
    stack = [target]
    while stack:
        draft = stack.pop()
        if draft not in found:
            found.add(draft)
            stack.extend(_below(draft))
    return found


def _below(draft: Draft) -> Iterator[Draft]:
    if draft.base is not None:
        yield draft.base
    yield from draft.needs


def _refuse_cycles(drafts: Iterable[Draft]) -> None:
    done: set[Draft] = set()
    for start in drafts:
        _walk_one(start, done)


def _walk_one(start: Draft, done: set[Draft]) -> None:
    """Depth first without recursion; `open_` are the drafts on the way here."""
    open_: set[Draft] = set()
    stack: list[tuple[Draft, bool]] = [(start, False)]
    while stack:
        draft, leaving = stack.pop()
        if leaving:
            open_.discard(draft)
            done.add(draft)
        elif draft in open_:
            raise DockerfileError(
                f"circular dependency detected on stage: {draft.shown or draft.base_name}",
                span=draft.span,
            )
        elif draft not in done:
            open_.add(draft)
            stack.append((draft, True))
            stack.extend((below, False) for below in _below(draft))

"""Document in, graph and image config out: the Dockerfile compiler.

Decode, evaluate global arguments, plan the stages, look up the bases that the target needs, lower
those stages in order. Knows llb and oci values; touches no file and no network, which belong to
the Resolver it is given. Reference: moby/buildkit frontend/dockerfile.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from lazybuild.dockerfile import platforms
from lazybuild.dockerfile.args import global_scope, predefined
from lazybuild.dockerfile.bases import Bases
from lazybuild.dockerfile.contexts import EPOCH, Contexts
from lazybuild.dockerfile.draft import Draft, Planned
from lazybuild.dockerfile.epoch import Epochs
from lazybuild.dockerfile.instructions import Arg, Copy, Run, Workdir
from lazybuild.dockerfile.lower_config import lower_config, lower_workdir
from lazybuild.dockerfile.lower_copy import lower_copy
from lazybuild.dockerfile.lower_run import lower_run
from lazybuild.dockerfile.nodes import Document
from lazybuild.dockerfile.options import Compiled, CompileOptions, Resolver, StageInfo
from lazybuild.dockerfile.plan import Plan, make_plan
from lazybuild.dockerfile.setting import Setting
from lazybuild.dockerfile.stages import Stage, description, split
from lazybuild.dockerfile.words import Words, placed
from lazybuild.errors import DockerfileError
from lazybuild.llb.ops import Platform
from lazybuild.oci.image import ImageConfig


def compile(document: Document, options: CompileOptions, resolver: Resolver) -> Compiled:  # noqa: A001 - the verb of this room
    """The graph of `options.target` and the config of the image it makes."""
    try:
        return _compile(document, options, resolver)
    except DockerfileError as error:
        error.source = error.source or document.source
        raise


def compile_each(
    document: Document,
    options: CompileOptions,
    platforms_: Iterable[Platform],
    resolver: Resolver,
) -> tuple[Compiled, ...]:
    """One result for each platform; the steps say which when there are several."""
    wanted = tuple(platforms_)
    several = options.multi_platform or len(wanted) > 1
    each = (replace(options, platform=one, multi_platform=several) for one in wanted)
    return tuple(compile(document, given, resolver) for given in each)


def targets(document: Document) -> tuple[StageInfo, ...]:
    """The stages of a document, without looking anything up."""
    _, stages = split(document)
    return tuple(_info(stage, stage.opening.base) for stage in stages)


def _compile(document: Document, options: CompileOptions, resolver: Resolver) -> Compiled:
    arguments, stages = split(document)
    words = Words(document.escape)
    setting = _setting(arguments, stages, words, options)
    plan = make_plan(stages, setting.scope, words, setting.options)
    target = plan.target(options.target)
    needed = Bases(plan=plan, setting=setting, resolver=resolver).resolve(target)
    for draft in plan.drafts:
        if draft in needed and not draft.ready:
            _lower(draft, setting)
    target.paths.add("/")
    head, used = setting.contexts.finish(target.edge)
    return Compiled(
        head=head,
        config=_final_config(target, setting),
        platform=target.platform or setting.target_platform,
        stage=target.stage.name if target.stage else "",
        stages=_infos(plan, needed),
        base_history=target.base_history,
        base=target.resolved,
        locals=used,
        warnings=(*document.warnings, *setting.findings),
        epoch=setting.epoch,
    )


def _setting(
    arguments: tuple[Arg, ...], stages: tuple[Stage, ...], words: Words, options: CompileOptions
) -> Setting:
    start = predefined(options, options.target or stages[-1].name)
    scope = global_scope(start, arguments, options.build_args, words)
    epoch = Epochs(stages=stages, scope=scope, words=words, options=options).resolve()
    settled = _settled(options, epoch)
    return Setting(
        options=settled,
        words=words,
        scope=_with_epoch(scope, epoch),
        contexts=Contexts(settled),
        epoch=epoch,
    )


def _settled(options: CompileOptions, epoch: int | None) -> CompileOptions:
    """Options that build arguments stand for, and the epoch as the number it turned out to be."""
    given = options.build_args
    return replace(
        options,
        build_args=_with_epoch(given, epoch),
        hostname=options.hostname or given.get("BUILDKIT_SANDBOX_HOSTNAME", ""),
        cache_namespace=options.cache_namespace or given.get("BUILDKIT_CACHE_MOUNT_NS", ""),
    )


def _with_epoch(values: Mapping[str, str], epoch: int | None) -> dict[str, str]:
    """A reset epoch (an empty value) is as good as none."""
    rest = {name: value for name, value in values.items() if name != EPOCH}
    return rest if epoch is None or EPOCH not in values else rest | {EPOCH: str(epoch)}


def _lower(draft: Draft, setting: Setting) -> None:
    if draft.base is not None:
        _inherit(draft, draft.base)
    draft.platform = draft.platform or setting.target_platform
    draft.start()
    for planned in draft.steps:
        with placed(planned.step.span):
            _lower_step(draft, planned, setting)
        draft.settle()
    draft.ready = True


def _inherit(draft: Draft, base: Draft) -> None:
    """Go on where the base stage ended. Its ONBUILDs have become steps of this one."""
    draft.edge, draft.platform, draft.image = base.edge, base.platform, base.image
    draft.change(on_build=())
    draft.env, draft.args = dict(base.env), list(base.args)
    draft.paths = base.paths
    draft.resolved, draft.base_history = base.resolved, base.base_history


def _lower_step(draft: Draft, planned: Planned, setting: Setting) -> None:
    step = planned.step
    match step:
        case Run():
            lower_run(draft, planned, step, setting)
        case Copy():
            lower_copy(draft, planned, step, setting)
        case Workdir():
            lower_workdir(draft, planned, step, setting)
        case _:
            lower_config(draft, step, setting)


def _final_config(target: Draft, setting: Setting) -> ImageConfig:
    """With the labels of the command line and, when a platform was asked for, that platform."""
    options = setting.options
    if options.labels:
        target.change(labels={**target.config.labels, **options.labels})
    if not options.platform:
        found = platforms.of_config(target.image)
        return replace(target.image, architecture=found.architecture, variant=found.variant)
    aim, had = options.platform, target.image
    same = (aim.os, aim.architecture) == (had.os, had.architecture)
    return replace(
        had,
        os=aim.os,
        architecture=aim.architecture,
        variant=aim.variant if aim.variant or not same else had.variant,
        os_version=aim.os_version if aim.os_version or not same else had.os_version,
        os_features=aim.os_features or had.os_features,
    )


def _infos(plan: Plan, needed: set[Draft]) -> tuple[StageInfo, ...]:
    return tuple(
        _info(draft.stage, draft.base_name, reachable=draft in needed)
        for draft in plan.drafts
        if draft.stage is not None
    )


def _info(stage: Stage, base: str, *, reachable: bool = True) -> StageInfo:
    return StageInfo(
        name=stage.name,
        base=base,
        platform=stage.opening.platform,
        description=description(stage.opening.node.comments, stage.name),
        span=stage.opening.span,
        reachable=reachable,
    )

"""What stages begin with: an image, nothing, or a named context; and the ONBUILDs that come along.

Only what the target needs is looked up. The one place of the compiler that asks the Resolver.
"""

import re
from dataclasses import dataclass, replace

from lazybuild.dockerfile import contexts
from lazybuild.dockerfile.decode import decode
from lazybuild.dockerfile.draft import DEFAULT_PATH, Draft
from lazybuild.dockerfile.excerpt import masked
from lazybuild.dockerfile.giturl import parse_git
from lazybuild.dockerfile.hints import hint
from lazybuild.dockerfile.instructions import From, OnBuild, Step
from lazybuild.dockerfile.named import Named, lookup
from lazybuild.dockerfile.nodes import Finding, Node
from lazybuild.dockerfile.options import ResolvedImage, Resolver
from lazybuild.dockerfile.parse import parse
from lazybuild.dockerfile.plan import Plan, plan_step, reachable
from lazybuild.dockerfile.platforms import of_config
from lazybuild.dockerfile.setting import Setting
from lazybuild.dockerfile.stages import SCRATCH
from lazybuild.errors import BuildError, DockerfileError, LazybuildError, Span, UsageError
from lazybuild.llb.graph import Edge, VertexOptions
from lazybuild.llb.ops import Platform
from lazybuild.oci import digest as digests
from lazybuild.oci import reference, transport
from lazybuild.oci.image import ContainerConfig, ImageConfig

_DIGEST = re.compile("sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bases:
    """Resolves the bases of one compilation."""

    plan: Plan
    setting: Setting
    resolver: Resolver

    def resolve(self, target: Draft) -> set[Draft]:
        """Everything the target needs, with bases known and triggers in place."""
        seen: set[Draft] = set()
        while fresh := self._in_order(reachable(target) - seen):
            for draft in fresh:
                if draft.base is None:
                    self._begin(draft)
            for draft in fresh:
                self._trigger(draft)
            seen.update(fresh)
        return seen

    def _in_order(self, drafts: set[Draft]) -> list[Draft]:
        return [draft for draft in self.plan.drafts if draft in drafts]

    def _begin(self, draft: Draft) -> None:
        try:
            self._load(draft)
        except DockerfileError:
            raise
        except UsageError as error:
            near = error.hint or hint(draft.base_name, self.plan.by_name)
            raise DockerfileError(error.message, span=draft.span, hint=near) from error
        except LazybuildError as error:
            near = hint(draft.base_name, self.plan.by_name)
            error.hint = error.hint or near
            if isinstance(error, BuildError):
                error.span = error.span or draft.span
            error.add_note(f"{draft.span.path}:{draft.span.line}: {_text(draft)}")
            raise
        draft.ready = draft.ready or draft.stage is None

    def _load(self, draft: Draft) -> None:
        if draft.context_name:
            named = lookup(self.setting.options, draft.context_name, draft.platform)
            if named is not None:
                self._context(draft, named)
                draft.ready = True
        elif draft.base_name == SCRATCH:
            draft.platform = self.setting.target_platform
            draft.image = empty_image(draft.platform)
        elif named := lookup(self.setting.options, draft.base_name, draft.platform):
            self._context(draft, named)
        elif transport.kind(draft.base_name):
            self._image(draft, self._resolve(draft, draft.base_name))
        else:
            name = reference.parse(draft.base_name)
            found = self._resolve(draft, str(name))
            full = name.pinned(found.digest) if found.digest else name
            self._image(draft, replace(found, reference=str(full)))

    def _image(self, draft: Draft, found: ResolvedImage) -> None:
        full = found.reference
        if has_files(found.config) and draft.platform is not None:
            self._check_platform(draft, found.config)
            title = draft.title(f"FROM {full}")
            options = VertexOptions(name=title, command=_text(draft), spans=(draft.span,))
            draft.edge = contexts.image(full, draft.platform, options)

    def _check_platform(self, draft: Draft, config: ImageConfig) -> None:
        wanted = draft.platform
        if wanted is None or (wanted.os, wanted.architecture) == (config.os, config.architecture):
            return
        message = (
            f'Base image {draft.base_name} was pulled with platform "{of_config(config)}",'
            f' expected "{wanted}" for current build'
        )
        finding = Finding(rule="InvalidBaseImagePlatform", message=message, span=draft.span)
        self.setting.findings.append(finding)

    def _resolve(self, draft: Draft, name: str) -> ResolvedImage:
        options = self.setting.options
        wanted = draft.platform or self.setting.target_platform
        found = self.resolver.image(name, wanted)
        if draft.platform is None and options.platform is None:
            wanted = _own_platform(found.config, wanted, options.other_platforms)
        draft.platform = wanted
        self._adopt(draft, found)
        return found

    @staticmethod
    def _adopt(draft: Draft, found: ResolvedImage) -> None:
        draft.resolved = found
        draft.image = inherited(found.config)
        draft.base_history = len(found.config.history)

    def _context(self, draft: Draft, named: Named) -> None:
        """Begin with what `--build-context` gives; the platform is the one asked for."""
        wanted = draft.platform or self.setting.target_platform
        draft.platform, draft.image = wanted, empty_image(wanted)
        kind, _, value = named.value.partition(":")
        match kind:
            case "docker-image":
                self._context_image(draft, named, value.removeprefix("//"))
            case "oci-layout":
                self._context_layout(draft, named, value.removeprefix("//"))
            case "local":
                title = f"[context {named.key}] load from client"
                draft.edge = self.setting.contexts.local(value, draft.paths, title)
            case "input":
                self._context_input(draft, named, value)
            case _:
                draft.edge = _context_url(named)

    def _context_image(self, draft: Draft, named: Named, name: str) -> None:
        if name == SCRATCH or draft.platform is None:
            return
        full = reference.parse(name)
        found = self.resolver.image(str(full), draft.platform)
        self._adopt(draft, found)
        pinned = str(full.pinned(found.digest)) if found.digest else str(full)
        if has_files(found.config):
            options = VertexOptions(name=f"[context {named.key}] {name}", spans=(draft.span,))
            draft.edge = contexts.image(pinned, draft.platform, options)

    def _context_layout(self, draft: Draft, named: Named, name: str) -> None:
        store, _, digest = name.partition("@")
        if not store or not _DIGEST.fullmatch(digest):
            raise UsageError(f'oci-layout reference "{name}" has no digest')
        if draft.platform is None:
            return
        found = self.resolver.image(f"oci-layout://{name}", draft.platform)
        self._adopt(draft, found)
        title = f"[context {named.key}] OCI load from client"
        draft.edge = contexts.layout(store, digests.parse(digest), draft.platform, title)

    def _context_input(self, draft: Draft, named: Named, key: str) -> None:
        given = self.setting.options.inputs.get(key)
        if given is None:
            raise UsageError(f"invalid input {key} for {named.key}")
        draft.edge, draft.resolved = given.head, given.base
        if given.config is not None:
            draft.image = inherited(given.config)
            known = given.base.config if given.base else given.config
            draft.base_history = len(known.history)

    def _trigger(self, draft: Draft) -> None:
        """Put the ONBUILDs of the base before the draft's own steps."""
        texts = draft.config.on_build
        if draft.base is not None:
            steps = [planned.step for planned in draft.base.steps]
            texts = tuple(step.trigger for step in steps if isinstance(step, OnBuild))
        draft.change(on_build=())
        if not texts or draft.stage is None or draft.context_name:
            return
        found = [read_trigger(text, draft.span) for text in texts]
        plan, words = self.plan, self.setting.words
        planned = [plan_step(plan, draft, step, words, triggered=True) for step in found]
        draft.steps[:0] = planned
        draft.count_steps()


def _context_url(named: Named) -> Edge:
    """A git repository, or the one file of a URL under the name `context`."""
    try:
        url = parse_git(named.value)
    except ValueError as error:
        raise UsageError(f"{error} in the context {named.key}") from error
    title = f"[context {named.key}] {masked(named.value)}"
    if url is not None:
        return contexts.git(url, f"[internal] load git source {masked(named.value)}")
    if named.value.startswith(("http://", "https://")):
        return contexts.http(named.value, contexts.ARCHIVE, title)
    raise UsageError(f"unsupported context source {named.value} for {named.key}")


def _text(draft: Draft) -> str:
    return draft.stage.opening.text if draft.stage else f"FROM {draft.base_name}"


def inherited(config: ImageConfig) -> ImageConfig:
    """What goes on from a base image: neither its date nor keys that this compiler doesn't know."""
    return replace(config, created="", extra={}, config=replace(config.config, extra={}))


def has_files(config: ImageConfig) -> bool:
    """An image without layers is an empty tree, whatever it is called."""
    return bool(config.diff_ids) or any(not line.empty_layer for line in config.history)


def _own_platform(config: ImageConfig, wanted: Platform, others: tuple[Platform, ...]) -> Platform:
    """The image's own platform where this machine builds for it, else the one asked for."""
    for platform in (wanted, *others):
        if (platform.os, platform.architecture) == (config.os, config.architecture):
            return platform
    return wanted


def empty_image(platform: Platform) -> ImageConfig:
    """The config of `scratch`."""
    env = () if platform.os == "windows" else (f"PATH={DEFAULT_PATH}",)
    return ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        os_version=platform.os_version,
        os_features=platform.os_features,
        variant=platform.variant,
        config=ContainerConfig(working_dir="/", env=env),
    )


def read_trigger(text: str, span: Span) -> Step:
    """The one instruction of an ONBUILD text; its place is the FROM that fires it."""
    try:
        nodes = parse(text.encode("utf-8", "surrogateescape"), span.path).nodes
        if len(nodes) != 1:
            raise DockerfileError("onbuild trigger should be a single expression")
        step = decode(_moved(nodes[0], span))
    except DockerfileError as error:
        error.span = span
        raise
    if isinstance(step, From):
        raise DockerfileError("FROM isn't allowed as an ONBUILD trigger", span=span)
    return step


def _moved(node: Node, span: Span) -> Node:
    moved = tuple(replace(flag, span=span) for flag in node.flags)
    return replace(node, span=span, flags=moved, pieces=())

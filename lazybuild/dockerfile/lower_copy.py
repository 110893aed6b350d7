"""COPY and ADD: one FileOp with an action for each source, merged on top with --link."""

import re
from dataclasses import dataclass, replace

from lazybuild.dockerfile import contexts, paths
from lazybuild.dockerfile.draft import Draft, Planned
from lazybuild.dockerfile.epoch import filename
from lazybuild.dockerfile.fileops import FileBuilder, owner, single_file
from lazybuild.dockerfile.giturl import GitUrl, parse_git
from lazybuild.dockerfile.instructions import Copy
from lazybuild.dockerfile.modes import parse_mode
from lazybuild.dockerfile.nodes import Heredoc
from lazybuild.dockerfile.setting import Setting
from lazybuild.errors import DockerfileError
from lazybuild.llb.graph import Edge, Vertex
from lazybuild.llb.ops import CopyAction, MergeOp

_DIGEST = re.compile("sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_FILE_MODE = 0o644
_URL = ("http://", "https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """The words of a COPY, expanded."""

    sources: tuple[str, ...]
    dest: str
    chown: str
    chmod: str
    checksum: str


def lower_copy(draft: Draft, planned: Planned, step: Copy, setting: Setting) -> None:
    """Add the copy to the draft."""
    words = _expand(draft, step, setting)
    _check(step, words)
    title = setting.words.title(step.text, draft.env)
    name = draft.title(title, triggered=planned.triggered)
    linked = step.link and not words.chmod
    builder = FileBuilder(None if linked else draft.edge)
    copier = _Copier(draft=draft, planned=planned, step=step, setting=setting, words=words)
    copier.fill(builder, name)
    edge = builder.build(draft.options(name, step))
    draft.edge = _linked(draft, edge, name, step) if linked else edge
    draft.record(_history(step, words), layer=True)


def _expand(draft: Draft, step: Copy, setting: Setting) -> _Words:
    def expand(text: str) -> str:
        return setting.expand(draft, step, text)

    return _Words(
        chown=expand(step.chown),
        chmod=expand(step.chmod),
        checksum=expand(step.checksum),
        sources=tuple(expand(source) for source in step.sources),
        dest=expand(step.dest),
    )


def _check(step: Copy, words: _Words) -> None:
    if not words.checksum:
        return
    if len(words.sources) != 1:
        raise DockerfileError("checksum can't be specified for multiple sources", span=step.span)
    if _is_git(words.sources[0]):
        return
    if not words.sources[0].startswith(_URL):
        raise DockerfileError("checksum requires HTTP(S) or Git sources", span=step.span)
    if not _DIGEST.fullmatch(words.checksum):
        raise DockerfileError(f"invalid checksum digest format: {words.checksum}", span=step.span)


def _split_parents(source: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """--parents: the pivot, the pattern below it, and the path that must exist.

    A path with a wildcard may match nothing.
    """
    root, pivot, below = source.partition("/./")
    if not pivot:
        root, below = "/", source
    pattern = paths.absolute("/", below)
    certain = not (paths.has_wildcard(root) or paths.has_wildcard(pattern))
    required = (paths.inside(f"{root}/{pattern}"),) if certain else ()
    return root, (pattern.removeprefix("/"),), required


def _is_git(source: str) -> bool:
    try:
        return parse_git(source) is not None
    except ValueError:
        return True


def _linked(draft: Draft, edge: Edge, name: str, step: Copy) -> Edge:
    """The copy, made on its own, laid over what there is."""
    head, bracket, rest = name.partition("] ")
    title = f"{head}{bracket}LINK {rest}" if bracket else f"LINK {name}"
    inputs = (edge,) if draft.edge is None else (draft.edge, edge)
    if len(inputs) == 1:
        return edge
    return Edge(Vertex(op=MergeOp(), inputs=inputs, options=draft.options(title, step)))


def _history(step: Copy, words: _Words) -> str:
    parts = ["ADD" if step.add else "COPY"]
    parts += ["--parents"] if step.parents else []
    parts += [f"--chown={words.chown}"] if words.chown else []
    parts += [f"--chmod={words.chmod}"] if words.chmod else []
    parts += words.sources
    parts += [f"<<{heredoc.name}" for heredoc in step.inline]
    return " ".join([*parts, words.dest, "# buildkit"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copier:
    """One COPY or ADD on its way into a FileOp."""

    draft: Draft
    planned: Planned
    step: Copy
    setting: Setting
    words: _Words

    def fill(self, builder: FileBuilder, name: str) -> None:
        for source in self.words.sources:
            if url := self._git_url(source):
                self._git(builder, url, name)
            elif source.startswith(_URL):
                self._url(builder, source, name)
            else:
                self._path(builder, source)
        for heredoc in self.step.inline:
            self._inline(builder, heredoc)

    def _action(self, builder: FileBuilder, src: str) -> CopyAction:
        try:
            mode, symbolic = parse_mode(self.words.chmod)
        except ValueError as error:
            raise DockerfileError(str(error), span=self.step.span) from error
        return CopyAction(
            src=src,
            dest=paths.destination(self.draft.cwd, self.words.dest),
            owner=owner(self.words.chown, builder.base),
            mode=mode,
            mode_str=symbolic,
            create_dest_path=True,
            exclude_patterns=self.step.excludes,
        )

    def _git_url(self, source: str) -> GitUrl | None:
        try:
            url = parse_git(source)
        except ValueError as error:
            raise DockerfileError(str(error), span=self.step.node.find(source)) from error
        if url is not None and not self.step.add:
            raise DockerfileError("source can't be a git ref for COPY", span=self.step.span)
        return url

    def _git(self, builder: FileBuilder, url: GitUrl, name: str) -> None:
        keep, checksum = self.step.keep_git_dir, self.words.checksum
        if None not in {keep, url.keep_git_dir} and keep != url.keep_git_dir:
            raise DockerfileError("inconsistent keep-git-dir configuration", span=self.step.span)
        if checksum and url.checksum and checksum != url.checksum:
            raise DockerfileError(
                f'checksum mismatch "{checksum}" != "{url.checksum}"', span=self.step.span
            )
        source = replace(
            url,
            keep_git_dir=keep if url.keep_git_dir is None else url.keep_git_dir,
            checksum=url.checksum or checksum,
            mtime="",
        )
        builder.add(self._action(builder, "/"), contexts.git(source, name))

    def _url(self, builder: FileBuilder, source: str, name: str) -> None:
        if not self.step.add:
            raise DockerfileError("source can't be a URL for COPY", span=self.step.span)
        file = filename(source)
        edge = contexts.http(source, file, name, self.words.checksum)
        action = self._action(builder, f"/{file}")
        builder.add(replace(action, attempt_unpack=bool(self.step.unpack)), edge)

    def _path(self, builder: FileBuilder, source: str) -> None:
        unpack = self.step.add if self.step.unpack is None else self.step.unpack
        root, included, required = _split_parents(source) if self.step.parents else (source, (), ())
        action = replace(
            self._action(builder, paths.inside(root)),
            include_patterns=included,
            required_paths=required,
            follow_symlink=True,
            dir_copy_contents=True,
            attempt_unpack=unpack,
            allow_wildcard=True,
            allow_empty_wildcard=True,
        )
        builder.add(action, self._source_edge(source))

    def _source_edge(self, source: str) -> Edge | None:
        if not self.planned.sources:
            return self.setting.contexts.main(source)
        stage = self.planned.sources[0]
        if stage is None or not stage.ready:
            raise DockerfileError(
                f'cannot copy from stage "{self.step.source_stage}", it needs to be defined'
                f' before current stage "{self.draft.shown}"',
                span=self.step.source_span or self.step.span,
            )
        stage.paths.add(paths.inside(source))
        return stage.edge

    def _inline(self, builder: FileBuilder, heredoc: Heredoc) -> None:
        text = heredoc.content
        if heredoc.expand:
            text = self.setting.expand_body(self.draft, self.step, text)
        edge = single_file(heredoc.name, text.encode("utf-8", "surrogateescape"), _FILE_MODE)
        builder.add(self._action(builder, f"/{heredoc.name}"), edge)

"""SOURCE_DATE_EPOCH: a number, nothing, or the name of a source whose own time counts.

The source may be `context`, a named context, or a stage that is FROM scratch with exactly one ADD
from a URL or a git repository. Asking a source for its time is the caller's business.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from lazybuild.dockerfile import contexts
from lazybuild.dockerfile.contexts import EPOCH
from lazybuild.dockerfile.giturl import parse_git
from lazybuild.dockerfile.instructions import Arg, Copy
from lazybuild.dockerfile.named import lookup
from lazybuild.dockerfile.options import CompileOptions
from lazybuild.dockerfile.stages import SCRATCH, Stage
from lazybuild.dockerfile.words import Words, placed
from lazybuild.errors import DockerfileError, NotSupportedYetError, Span
from lazybuild.llb.ops import SourceOp

_LIMIT = 2**63
_UNNAMED = "__unnamed__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """What is needed to find the epoch of one compilation."""

    stages: tuple[Stage, ...]
    scope: Mapping[str, str]
    words: Words
    options: CompileOptions

    def resolve(self) -> int | None:
        """The epoch, or None when there is none."""
        if self.options.epoch is not None:
            return self.options.epoch
        text = self.options.build_args.get(EPOCH, self.scope.get(EPOCH, ""))
        if not text:
            return None
        digits = text.removeprefix("-").removeprefix("+")
        if digits.isascii() and digits.isdigit() and int(digits[:20]) < _LIMIT:
            return int(text)
        return self._time_of(text)

    def _time_of(self, name: str) -> int | None:
        source = self._source(name)
        if source is None:
            return None
        if self.options.source_time is None:
            raise NotSupportedYetError(f"{EPOCH} from a source ({name}) is not supported yet")
        return self.options.source_time(source)

    def _source(self, name: str) -> SourceOp | None:
        """None for a source that has no time of its own (a local directory)."""
        if name == "context":
            return self.options.origin or _remote(self.options.context)
        if named := lookup(self.options, name, None):
            return _remote(named.value)
        for stage in self.stages:
            if stage.name == name.lower():
                return self._stage_source(stage)
        raise DockerfileError(f"invalid {EPOCH}: {name}")

    def _stage_source(self, stage: Stage) -> SourceOp:
        env = {key: value for key, value in self.scope.items() if key != EPOCH}
        span = stage.opening.span
        with placed(span):
            if self.words.expand(stage.opening.base, env) != SCRATCH:
                raise DockerfileError(f"{EPOCH} stage must use FROM scratch")
            found = list(self._adds(stage, env))
            if len(found) != 1:
                raise DockerfileError(f"{EPOCH} stage must contain exactly one remote ADD")
        return found[0]

    def _adds(self, stage: Stage, env: dict[str, str]) -> Iterable[SourceOp]:
        for step in stage.steps:
            if isinstance(step, Arg):
                self._declare(step, env)
            elif isinstance(step, Copy) and step.add:
                yield self._add(step, env)
            else:
                raise DockerfileError(
                    f"{EPOCH} stage does not meet source-only requirements: unsupported"
                    f" {step.node.keyword} instruction",
                    span=step.span,
                )

    def _declare(self, step: Arg, env: dict[str, str]) -> None:
        for item in step.items:
            if item.name in self.options.build_args:
                env[item.name] = self.options.build_args[item.name]
            elif item.default is not None:
                env[item.name] = self.words.expand(item.default, env)

    def _add(self, step: Copy, env: Mapping[str, str]) -> SourceOp:
        if step.inline or len(step.sources) != 1:
            raise DockerfileError(
                f"{EPOCH} stage must contain exactly one remote ADD source", span=step.span
            )
        text = self.words.expand(step.sources[0], env)
        checksum = self.words.expand(step.checksum, env)
        return remote_source(text, filename(text), checksum, step.span)


def remote_source(text: str, name: str, checksum: str, span: Span | None) -> SourceOp:
    """The source op of a git or http(s) URL."""
    try:
        git = parse_git(text)
    except ValueError as error:
        raise DockerfileError(str(error), span=span) from error
    if git is not None:
        return contexts.git_source(git)
    if text.startswith(("http://", "https://")):
        return contexts.http_source(text, name, checksum)
    raise DockerfileError(f"{EPOCH} stage source must be a single HTTP(S) or Git ADD", span=span)


def filename(url: str) -> str:
    """What a downloaded file is called."""
    try:
        path = unquote(urlsplit(url).path)
    except ValueError:
        return _UNNAMED
    name = path.rstrip("/").rpartition("/")[2]
    return _UNNAMED if name in {"", ".", ".."} else name


def _remote(value: str) -> SourceOp | None:
    if value.startswith(("local:", "input:", "docker-image:", "oci-layout:")):
        return None
    return remote_source(value, contexts.ARCHIVE, "", None)

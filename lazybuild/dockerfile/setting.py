"""What every lowering step may ask: options, words, the global scope, the sources.

Expansion goes through here, so that names that are not set are noted for the checks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lazybuild.dockerfile.args import NOT_IN_STEPS
from lazybuild.dockerfile.contexts import Contexts
from lazybuild.dockerfile.draft import Draft
from lazybuild.dockerfile.instructions import Step
from lazybuild.dockerfile.nodes import Finding
from lazybuild.dockerfile.options import CompileOptions
from lazybuild.dockerfile.shell import Expansion
from lazybuild.dockerfile.suggest import nearest
from lazybuild.dockerfile.words import Words
from lazybuild.llb.ops import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The surroundings of one compilation. Only `findings` grows."""

    options: CompileOptions
    words: Words
    scope: Mapping[str, str]
    contexts: Contexts
    epoch: int | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def target_platform(self) -> Platform:
        return self.options.platform or self.options.build_platform

    def expand(self, draft: Draft, step: Step, text: str) -> str:
        """A word of `step`, in the environment before it."""
        return self._noted(draft, step, self.words.process(text, draft.env))

    def expand_body(self, draft: Draft, step: Step, text: str) -> str:
        """The body of a heredoc of `step`."""
        return self._noted(draft, step, self.words.process_body(text, draft.env))

    def _noted(self, draft: Draft, step: Step, expansion: Expansion) -> str:
        declared = {item.name for item in draft.args} | NOT_IN_STEPS
        for name in sorted(expansion.unset - declared):
            near = nearest(name, draft.env, case_sensitive=True)
            meant = f" (did you mean ${near}?)" if near else ""
            message = f"Usage of undefined variable '${name}'{meant}"
            finding = Finding(rule="UndefinedVar", message=message, span=step.span)
            if finding not in self.findings[-8:]:
                self.findings.append(finding)
        return expansion.text

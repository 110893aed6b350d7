"""What every lowering step may ask: options, words, the global scope, the sources. A value."""

from collections.abc import Mapping
from dataclasses import dataclass

from lazybuild.dockerfile.contexts import Contexts
from lazybuild.dockerfile.options import CompileOptions
from lazybuild.dockerfile.words import Words
from lazybuild.llb.ops import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    options: CompileOptions
    words: Words
    scope: Mapping[str, str]
    contexts: Contexts
    epoch: int | None = None

    @property
    def target_platform(self) -> Platform:
        return self.options.platform or self.options.build_platform

"""The build checks: their names, what they are about, and which of them are switched on. Values.

Names, descriptions and addresses are the reference's, so that its documentation applies.
All checks are warnings; `error=true` makes the build fail when any has something to say.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from lazybuild.dockerfile.characters import SPACE
from lazybuild.dockerfile.directives import Reader
from lazybuild.errors import DockerfileError

_DOCUMENTATION = "https://docs.docker.com/go/dockerfile/rule/"
_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_MAX_OPTIONS = 3


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    description: str
    experimental: bool = False
    documented: bool = True

    @property
    def url(self) -> str:
        slug = _WORD_START.sub("-", self.name).lower()
        return f"{_DOCUMENTATION}{slug}/" if self.documented else ""


_ALL = (
    Rule("StageNameCasing", "Stage names should be lowercase"),
    Rule("FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword"),
    Rule(
        "NoEmptyContinuation",
        "Empty continuation lines will become errors in a future release",
    ),
    Rule(
        "ConsistentInstructionCasing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    ),
    Rule("DuplicateStageName", "Stage names should be unique"),
    Rule("ReservedStageName", "Reserved words should not be used as stage names"),
    Rule(
        "JSONArgsRecommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to"
        " OS signals",
    ),
    Rule(
        "MaintainerDeprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    ),
    Rule("UndefinedArgInFrom", "FROM command must use declared ARGs"),
    Rule(
        "WorkdirRelativePath",
        "Relative workdir without an absolute workdir declared within the build can have"
        " unexpected results if the base image changes",
    ),
    Rule("UndefinedVar", "Variables should be defined before their use"),
    Rule(
        "MultipleInstructionsDisallowed",
        "Multiple instructions of the same type should not be used in the same stage",
    ),
    Rule(
        "LegacyKeyValueFormat",
        "Legacy key/value format with whitespace separator should not be used",
    ),
    Rule(
        "InvalidBaseImagePlatform",
        "Base image platform does not match expected target platform",
        documented=False,
    ),
    Rule(
        "RedundantTargetPlatform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the"
        " default behavior",
    ),
    Rule(
        "SecretsUsedInArgOrEnv",
        "Sensitive data should not be used in the ARG or ENV commands",
    ),
    Rule(
        "InvalidDefaultArgInFrom",
        "Default value for global ARG results in an empty or invalid base image name",
    ),
    Rule(
        "FromPlatformFlagConstDisallowed",
        "FROM --platform flag should not use a constant value",
    ),
    Rule(
        "CopyIgnoredFile",
        "Attempting to Copy file that is excluded by .dockerignore",
    ),
    Rule(
        "InvalidDefinitionDescription",
        "Comment for build stage or argument should follow the format: `# <arg/stage name>"
        " <description>`. If this is not intended to be a description comment, add an empty line"
        " or comment between the instruction and the comment.",
        experimental=True,
    ),
    Rule("ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase"),
    Rule(
        "ExposeInvalidFormat",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will"
        " become an error in a future release",
    ),
)

RULES = {rule.name: rule for rule in _ALL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which rules speak, and whether what they say is an error."""

    skip_all: bool = False
    skip: frozenset[str] = frozenset()
    experimental_all: bool = False
    experimental: frozenset[str] = frozenset()
    error: bool = False

    def allows(self, rule: str) -> bool:
        if RULES[rule].experimental:
            return self.experimental_all or rule in self.experimental
        return not (self.skip_all or rule in self.skip)

    def merged(self, other: "Choice") -> "Choice":
        """With what the comment of one instruction asks for; `error` is the file's alone."""
        return replace(
            self,
            skip_all=self.skip_all or other.skip_all,
            skip=self.skip | other.skip,
            experimental_all=self.experimental_all or other.experimental_all,
            experimental=self.experimental | other.experimental,
        )

    def for_comments(self, comments: Iterable[str]) -> "Choice":
        """With the first `check=…` among the comment lines above an instruction."""
        for comment in comments:
            directive = Reader("", mark="").read(comment, 1)
            if directive is None or directive.name != "check":
                continue
            try:
                return self.merged(parse_choice(directive.value.partition(" ")[0]))
            except DockerfileError:
                return self  # a comment is not a place for errors
        return self


def parse_choice(text: str) -> Choice:
    """`skip=A,B|all;experimental=A,B|all;error=true`, each part at most once or so."""
    text = text.strip(SPACE)
    choice = Choice()
    for part in text.split(";", _MAX_OPTIONS - 1) if text else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise DockerfileError(f'invalid check option "{part}"')
        choice = _with_option(choice, key.strip(SPACE), value.strip(SPACE), part)
    return choice


def _with_option(choice: Choice, key: str, value: str, part: str) -> Choice:
    names = frozenset(name.strip(SPACE) for name in value.split(","))
    match key:
        case "skip" if value == "all":
            return replace(choice, skip_all=True)
        case "skip":
            return replace(choice, skip=names)
        case "experimental" if value == "all":
            return replace(choice, experimental_all=True)
        case "experimental":
            return replace(choice, experimental=names)
        case "error" if value in _TRUE | _FALSE:
            return replace(choice, error=value in _TRUE)
        case "error":
            raise DockerfileError(f'failed to parse check option "{part}": not a boolean: {value}')
    raise DockerfileError(f'invalid check option "{key}"')

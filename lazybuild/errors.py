"""The whole error tree. Each class has an exit code; only `cli/` prints it and exits.

    LazybuildError                1    anything the user can understand and act on
    ├── UsageError                2    flags, arguments, configuration
    ├── DockerfileError           1    text of a Dockerfile, with the place it stands at
    │   └── NotSupportedYetError       a construct that is known and not built yet
    ├── BuildError                1    a step can not be done: missing file, bad archive
    │   └── StepFailedError            a RUN command ended with a status other than zero
    ├── IntegrityError            1    bytes that differ from their digest, hostile layouts
    ├── RegistryError           104    a registry or a network that does not do its part
    ├── ResourceError           102    disk, memory or quota used up
    └── HostError               125    this host cannot do what the build needs

Anything else that escapes is a bug (exit code 100).
This module knows no other module of lazybuild.
"""

from dataclasses import dataclass

EXIT_BUG = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A place in a text file. Lines and columns count from 1; `end_column` is exclusive.

    Columns of 0 mean "the whole line".
    """

    path: str
    line: int
    end_line: int
    column: int = 0
    end_column: int = 0


class LazybuildError(Exception):
    """A failure with a message for the user: what, where, and in `hint` what to do.

    `span` is the instruction it belongs to, filled in by the solver when the op did not know it;
    `vertex` is the digest of that step; `source` the text of that file and `target` the one it
    belongs to among several, filled in by the build.
    """

    exit_code = 1
    span: Span | None = None
    vertex = ""
    source = ""
    target = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(LazybuildError):
    """The command line or a configuration file asks for something that can't be."""

    exit_code = 2


class DockerfileError(LazybuildError):
    """A Dockerfile that can't be read or compiled, the place and the whole text of it."""

    def __init__(
        self, message: str, *, span: Span | None = None, source: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.span = span
        self.source = source


class NotSupportedYetError(DockerfileError):
    """A construct of the language that is refused until it is built; says "not supported yet"."""


class BuildError(LazybuildError):
    """A step can't be done: a missing file, an archive or image that makes no sense."""


class StepFailedError(BuildError):
    """A RUN command ended with a status other than zero."""

    def __init__(
        self, message: str, *, status: int, tail: tuple[str, ...] = (), hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.tail = tail


class IntegrityError(LazybuildError):
    """Bytes that don't match their digest, or a structure that no honest writer makes."""


class RegistryError(LazybuildError):
    """A registry, a token service or the network failed, after the retries. Never cached."""

    exit_code = 104


class DaemonDiedError(RegistryError):
    """The lazy file system's process is gone: an infrastructure failure, never cached."""


class ResourceError(LazybuildError):
    """No space, no memory, no descriptors, or a quota that is used up."""

    exit_code = 102


class HostError(LazybuildError):
    """The host lacks what the build needs; the message names it and the hint mends it."""

    exit_code = 125

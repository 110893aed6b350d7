"""Expansion as the lowering uses it: the scope is known, and a failure has a place.

Adds two things to `shell`: errors get the span of the instruction, and unset names are collected
for the checks. No I/O.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lazybuild.dockerfile.shell import Expansion, Rules, process
from lazybuild.errors import DockerfileError, Span


@contextmanager
def placed(span: Span) -> Iterator[None]:
    """Give a Dockerfile error without a place this one."""
    try:
        yield
    except DockerfileError as error:
        error.span = error.span or span
        raise


class Words:
    """Expands the words of instructions with the escape character of the file."""

    def __init__(self, escape: str) -> None:
        self._plain = Rules(escape=escape)
        self._shown = Rules(escape=escape, raw_quotes=True, keep_unset=True)

    def process(self, word: str, env: Mapping[str, str]) -> Expansion:
        return process(word, env, self._plain)

    def expand(self, word: str, env: Mapping[str, str]) -> str:
        return process(word, env, self._plain).text

    def split(self, word: str, env: Mapping[str, str]) -> tuple[str, ...]:
        return process(word, env, self._plain).words

    def title(self, text: str, env: Mapping[str, str]) -> str:
        """An instruction as its step is called; the text as it is where it can't be expanded."""
        return _capital(self._or_as_is(text, env, self._plain))

    def run_title(self, text: str, env: Mapping[str, str]) -> str:
        """The same for RUN, where quotes and unset names are the business of its shell."""
        return _capital(self._or_as_is(text, env, self._shown))

    @staticmethod
    def process_body(text: str, env: Mapping[str, str]) -> Expansion:
        """A heredoc's body: quotes mean nothing in it and the escape is always a backslash."""
        return process(text, env, Rules(quotes=False))

    @staticmethod
    def _or_as_is(text: str, env: Mapping[str, str], rules: Rules) -> str:
        try:
            return process(text, env, rules).text
        except DockerfileError:
            return text


def _capital(text: str) -> str:
    first, blank, rest = text.partition(" ")
    return first.upper() + blank + rest

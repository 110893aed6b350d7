"""What the language tools of this room say of a text, for people and for conformance tests.

    python -m lazybuild.dockerfile dump FILE              the parse, in the reference's form
    python -m lazybuild.dockerfile expand WORD NAME=VALUE…   one word expanded
    python -m lazybuild.dockerfile words WORD NAME=VALUE…    split after expansion, a line each

Exit code 1 and the reason on stderr where the text can't be read, 2 for wrong usage.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from lazybuild.dockerfile.characters import encode
from lazybuild.dockerfile.dump import dump
from lazybuild.dockerfile.parse import read
from lazybuild.dockerfile.shell import expand, expand_words
from lazybuild.errors import DockerfileError, LazybuildError, UsageError


def main(arguments: Sequence[str]) -> int:
    try:
        lines = _run(arguments)
    except LazybuildError as error:
        print(_located(error), file=sys.stderr)
        return error.exit_code
    sys.stdout.buffer.write(encode("".join(f"{line}\n" for line in lines)))
    return 0


def _run(arguments: Sequence[str]) -> list[str]:
    match list(arguments):
        case ["dump", file]:
            return [dump(read(_content(file), file))]
        case ["expand", word, *pairs]:
            return [expand(word, _environment(pairs))]
        case ["words", word, *pairs]:
            return expand_words(word, _environment(pairs))
    raise UsageError(str(__doc__))


def _content(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error


def _environment(pairs: Sequence[str]) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _located(error: LazybuildError) -> str:
    if isinstance(error, DockerfileError) and error.span:
        return f"{error.span.path}:{error.span.line}: {error.message}"
    return error.message


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

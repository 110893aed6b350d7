"""How the rest of an instruction falls into arguments: one function for each way. Pure.

Quotes and escapes stay in the words; expansion takes them away later.
Texts that are not UTF-8 lose those bytes to U+FFFD where the reference reads runes.
"""

import json
import re

from lazybuild.dockerfile.characters import BLANK, SPACE, SPACES, decode, encode, replaced
from lazybuild.errors import DockerfileError

Arguments = tuple[tuple[str, ...], bool]
"""The arguments, and whether they came from a JSON array."""

_BLANKS = re.compile(BLANK + "+")
_BLANK_BYTES = re.compile(rb"[\t\n\v\f\r \x85\xa0]+")
"""In HEALTHCHECK the reference takes bytes for characters."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_STRINGS = "when using JSON array syntax, arrays must be comprised of strings only"


def split_arguments(  # noqa: PLR0911 - a table
    keyword: str, rest: str, escape: str
) -> Arguments:
    """By the keyword's own rule; `rest` is what follows keyword and flags."""
    match keyword:
        case "cmd" | "entrypoint" | "run" | "shell":
            return json_or_whole(rest)
        case "add" | "copy" | "volume":
            return json_or_blanks(rest)
        case "expose" | "from":
            return split_at_blanks(rest), False
        case "maintainer" | "stopsignal" | "user" | "workdir":
            return whole(rest), False
        case "arg":
            return tuple(quoted_words(rest, escape)), False
        case "env" | "label":
            return pairs(rest, escape, keyword), False
        case "healthcheck":
            return type_and_command(rest)
        case "onbuild":
            return (), False
    return ("",), False


def whole(rest: str) -> tuple[str, ...]:
    return (rest,) if rest else ()


def split_at_blanks(rest: str) -> tuple[str, ...]:
    return tuple(_BLANKS.split(rest)) if rest else ()


def json_or_whole(rest: str) -> Arguments:
    array = json_strings(rest)
    return (whole(rest), False) if array is None else (array, True)


def json_or_blanks(rest: str) -> Arguments:
    array = json_strings(rest)
    return (split_at_blanks(rest), False) if array is None else (array, True)


def type_and_command(rest: str) -> Arguments:
    """HEALTHCHECK: a word, then a command as JSON or whole."""
    kind, *command = _BLANK_BYTES.split(encode(rest), maxsplit=1)
    if not kind:
        return (), False
    args, is_json = json_or_whole(decode(command[0])) if command else ((), False)
    return (decode(kind), *args), is_json


def json_strings(rest: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; None for what is no JSON array; other elements are an error."""
    text = rest.lstrip(SPACE)
    if not text.startswith("["):
        return None
    try:
        items = json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_refuse)
    except ValueError:
        return None
    except RecursionError:
        raise DockerfileError(_NOT_STRINGS) from None
    if not all(isinstance(item, str) for item in items):
        raise DockerfileError(_NOT_STRINGS)
    return tuple(_SURROGATE.sub("\ufffd", item) for item in items)


def _number(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise ValueError(text)
    return value


def _refuse(text: str) -> object:
    raise ValueError(text)


def pairs(rest: str, escape: str, keyword: str) -> tuple[str, ...]:
    """ENV and LABEL: name, value and separator of each; the first word decides the form."""
    words = quoted_words(rest, escape)
    if not words:
        return ()
    if "=" not in words[0]:
        return _old_form(rest, keyword)
    flat: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise DockerfileError(
                f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value'
            )
        flat += [name, value, equals]
    return tuple(flat)


def _old_form(rest: str, keyword: str) -> tuple[str, ...]:
    parts = _BLANKS.split(rest, maxsplit=1)
    if len(parts) == 1:
        raise DockerfileError(f"{keyword.upper()} must have two arguments")
    return parts[0], parts[1], ""


def quoted_words(rest: str, escape: str) -> list[str]:
    """Words between white space; quotes and escapes protect it and stay in the words."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    chars = iter(replaced(rest))
    for char in chars:
        if not quote and char in SPACES:
            if word:
                words.append("".join(word))
                word = []
            continue
        if char == escape and quote != "'":
            following = next(chars, "")
            word.append(char + following if following else "")
            continue
        if char == quote:
            quote = ""
        elif not quote and char in {"'", '"'}:
            quote = char
        word.append(char)
    last = "".join(word)
    return [*words, last] if last else words

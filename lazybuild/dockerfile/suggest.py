"""Near names: "did you mean …?" for words that are almost right. Pure."""

from collections.abc import Iterable


def near(word: str, options: Iterable[str]) -> str:
    """The option closest to `word`, or an empty string when none is close."""
    import difflib  # noqa: PLC0415 - needed only when something is already wrong

    by_lower = {option.lower(): option for option in sorted(options)}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.66)
    return by_lower[found[0]] if found and by_lower[found[0]] != word else ""


def hint(word: str, options: Iterable[str]) -> str:
    """A hint for an error message; empty when nothing is near."""
    found = near(word, options)
    return f"did you mean {found}?" if found else ""

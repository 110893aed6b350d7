"""Hints of the form "did you mean …?" for names that are almost right. Pure."""

from collections.abc import Iterable

from lazybuild.dockerfile.suggest import nearest


def hint(word: str, options: Iterable[str]) -> str:
    """Empty when nothing is near."""
    found = nearest(word, sorted(options))
    return f"did you mean {found}?" if found else ""

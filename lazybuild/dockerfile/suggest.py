"""The nearest known name, for "did you mean". Pure."""

from collections.abc import Iterable

MAX_DISTANCE = 2
MAX_LENGTH = 200
"""Longer names are nobody's typing mistake, and the distance costs the product of the lengths."""


def nearest(name: str, options: Iterable[str], *, case_sensitive: bool = False) -> str:
    """The option that is at most two edits away, in the name's own case; "" when there is none.

    Of two equally near ones, the one of the same letters is meant: letters change places easily.
    An exact match gives "": then the name was not what was wrong.
    """
    wanted = name if case_sensitive else name.lower()
    best, least = "", (MAX_DISTANCE + 1, False)
    for option in options:
        candidate = option if case_sensitive else option.lower()
        if candidate == wanted:
            return ""
        rank = (_distance(wanted, candidate), sorted(wanted) != sorted(candidate))
        if rank < least:
            best, least = candidate, rank
    return best if case_sensitive or name != name.upper() else best.upper()


def _distance(left: str, right: str) -> int:
    """Levenshtein's, or more than any limit when the lengths alone tell it."""
    if abs(len(left) - len(right)) > MAX_DISTANCE or len(left) > MAX_LENGTH:
        return MAX_DISTANCE + 1
    row = list(range(len(right) + 1))
    for number, char in enumerate(left, 1):
        diagonal, row[0] = row[0], number
        for column, other in enumerate(right, 1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (char != other)),
            )
    return row[-1]

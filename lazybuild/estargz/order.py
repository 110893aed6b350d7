"""The order in which a layer's entries are written: hot ones first, then the rest. Pure.

For each hot name, in list order and each entry once: missing parents, the target of a hard link
with its parents, then the entry. The rest keeps its order, except that a hard link never stands
before its target. Of entries with the same name the last one counts.
Rule: stargz-snapshotter estargz/build.go, "sortEntries".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import Item, Kind
from lazybuild.estargz.names import MAX_LINKS, OWN_NAMES, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """`missing` are hot names that the layer doesn't have."""

    hot: Sequence[Item]
    rest: Sequence[Item]
    missing: Sequence[str]


def arrange(items: Iterable[Item], hot: Iterable[str]) -> Ordered:
    """Split and order. Landmarks and a TOC among the items are dropped."""
    index: dict[str, Item] = {}
    for item in items:
        if item.entry.name not in OWN_NAMES:
            index.pop(item.entry.name, None)
            index[item.entry.name] = item
    taken: set[str] = set()
    first: list[Item] = []
    missing = [name for name in hot if not _take(name, index, taken, first, parents=True)]
    rest: list[Item] = []
    for name in index:
        _take(name, index, taken, rest, parents=False)
    return Ordered(hot=first, rest=rest, missing=missing)


def _take(
    name: str, index: dict[str, Item], taken: set[str], out: list[Item], *, parents: bool
) -> bool:
    """Move an entry and what must come before it; False if there is none of that name."""
    item = index.get(name)
    if item is None:
        return False
    for needed in _needed(item, index, parents=parents):
        if needed.entry.name not in taken:
            taken.add(needed.entry.name)
            out.append(needed)
    return True


def _needed(item: Item, index: dict[str, Item], *, parents: bool) -> list[Item]:
    chain = [item]
    while chain[-1].entry.kind is Kind.HARDLINK:
        link = chain[-1].entry
        target = index.get(link.link)
        if target is None or len(chain) > MAX_LINKS:
            raise BuildError(f"hard link {shown(link.name)} to {shown(link.link)} leads nowhere")
        chain.append(target)
    found: list[Item] = []
    for step in reversed(chain):
        found += _parents(step, index) if parents else []
        found.append(step)
    return found


def _parents(item: Item, index: dict[str, Item]) -> list[Item]:
    parts = item.entry.name.split("/")
    above = ["", *("/".join(parts[:count]) for count in range(1, len(parts)))]
    return [index[name] for name in above if name in index and name != item.entry.name]

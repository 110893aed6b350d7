"""Which ids this process can give to files, as its user namespace has it: /proc/self/uid_map.

Knows no other module of lazybuild.
"""

from pathlib import Path

OWN = Path("/proc/self")


def only_one(proc: Path = OWN) -> bool:
    """Whether there is a single id, of users or of groups, so that a file has no other owner."""
    return min(count(proc / name) for name in ("uid_map", "gid_map")) <= 1


def count(table: Path) -> int:
    """How many ids a map has; all of them where the kernel has no user namespaces."""
    try:
        lines = table.read_text().splitlines()
    except FileNotFoundError:
        return 2**32 - 1
    return sum(int(line.split()[2]) for line in lines)

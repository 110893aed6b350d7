"""How an owner that the file system can't hold is written into attributes, and read again.

`user.lazybuild.owner` of a file or directory is "uid:gid". Links and pipes can't carry attributes
of users, so `user.lazybuild.links` of their directory names them: "uid:gid/NAME" with NUL between
them; the empty name stands for all that are not named. The value stays small, since overlay has to
find room for it when it copies a directory up. Pure; knows no other module of lazybuild.
"""

OWNER, LINKS = "user.lazybuild.owner", "user.lazybuild.links"
ALL_OTHERS = b""
ROOT = (0, 0)
MAX_ID, DIGITS = 2**32 - 2, 10
ROOM = 2000

Owner = tuple[int, int]
Links = dict[bytes, Owner]


def encode(owner: Owner) -> bytes:
    return b"%d:%d" % owner


def parse(value: bytes | None) -> Owner | None:
    """What a note says; None for one that no one of us wrote."""
    uid, colon, gid = (value or b"").partition(b":")
    if not colon or not all(text.isdigit() and len(text) <= DIGITS for text in (uid, gid)):
        return None
    owner = int(uid), int(gid)
    return owner if max(owner) <= MAX_ID else None


def encode_links(links: Links) -> bytes:
    """All of them if there is room, else those that differ from most, as many as fit."""
    text = b"\0".join(_line(name, owner) for name, owner in links.items())
    if len(text) <= ROOM:
        return text
    owners = list(links.values())
    usual = max(dict.fromkeys(owners), key=owners.count)
    lines = [_line(ALL_OTHERS, usual)]
    lines += [_line(name, owner) for name, owner in links.items() if name and owner != usual]
    while sum(map(len, lines)) + len(lines) > ROOM:
        lines.pop()
    return b"\0".join(lines)


def _line(name: bytes, owner: Owner) -> bytes:
    return encode(owner) + b"/" + name


def parse_links(value: bytes | None) -> Links:
    found: Links = {}
    for line in (value or b"").split(b"\0"):
        text, slash, name = line.partition(b"/")
        owner = parse(text)
        if slash and owner is not None:
            found[name] = owner
    return found


def owner_of_link(links: Links, name: bytes) -> Owner:
    return links.get(name) or links.get(ALL_OTHERS) or ROOT

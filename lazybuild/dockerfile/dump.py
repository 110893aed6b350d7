"""A document in the reference's S-expression form, byte for byte. Pure."""

from lazybuild.dockerfile.nodes import Document, Node

_RAW_BYTES = range(0xDC80, 0xDD00)
"""The surrogate escapes of bytes that are not UTF-8."""
_BELOW_BLANK = range(0x20)
_DELETE = 0x7F
_ASTRAL = 0x10000

_NAMED = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NAMED |= {"\v": "\\v", '"': '\\"', "\\": "\\\\"}


def dump(document: Document) -> str:
    """One expression a line: the keyword, its flags in brackets, its arguments, quoted."""
    return "\n".join(f"({_node(node)})" for node in document.nodes)


def _node(node: Node) -> str:
    parts = [node.keyword]
    if node.flags:
        parts.append("[" + " ".join(quote(flag.text) for flag in node.flags) + "]")
    parts += [f"({_node(node.child)})"] if node.child else map(quote, node.args)
    return " ".join(parts).strip()


def quote(text: str) -> str:
    """As Go's strconv.Quote does."""
    return '"' + "".join(map(_character, text)) + '"'


def _character(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    code = ord(char)
    if char.isprintable():
        return char
    if code in _RAW_BYTES:
        return f"\\x{code - 0xDC00:02x}"
    if code in _BELOW_BLANK or code == _DELETE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _ASTRAL else f"\\U{code:08x}"

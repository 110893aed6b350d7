"""The parser's door: bytes of a Dockerfile in, a Document out.

Puts lexer, command splitting, argument splitting and heredocs together, and gives every error
the place it belongs to. Means nothing by what it reads: no flag, argument or stage is judged here,
only whether the keyword is one of the language's. Any text gives a Document or a DockerfileError.
"""

from collections.abc import Iterator
from dataclasses import replace

from lazybuild.dockerfile.arguments import split_arguments
from lazybuild.dockerfile.characters import BOM, decode
from lazybuild.dockerfile.command import split_command
from lazybuild.dockerfile.directives import read_directives
from lazybuild.dockerfile.heredoc import Mark, marks
from lazybuild.dockerfile.lexer import Lexer, Logical, lexer_of
from lazybuild.dockerfile.nodes import (
    KEYWORDS,
    Document,
    Finding,
    Flag,
    Heredoc,
    Node,
    Piece,
    whole_lines,
)
from lazybuild.dockerfile.suggest import nearest
from lazybuild.errors import DockerfileError, Span

MAX_ONBUILD = 20
"""Of ONBUILD in ONBUILD, which is an error anyway, but not the parser's."""

HEREDOC_KEYWORDS = frozenset({"add", "copy", "run"})


def parse(data: bytes | str, path: str = "Dockerfile") -> Document:
    """A document whose instructions are all known ones."""
    document = read(data, path)
    for node in document.nodes:
        for inner in _with_children(node):
            if inner.keyword not in KEYWORDS:
                raise _unknown(inner, document.source)
    return document


def read(data: bytes | str, path: str = "Dockerfile") -> Document:
    """A document with whatever words stand where instructions should."""
    text = data if isinstance(data, str) else decode(data)
    text = text.removeprefix(BOM)
    try:
        return _document(text, path)
    except DockerfileError as error:
        error.source = text
        raise


def _document(text: str, path: str) -> Document:
    lexer = lexer_of(text, path)
    nodes: list[Node] = []
    warnings: list[Finding] = []
    for logical in lexer.logical_lines():
        node = _node(lexer, logical)
        nodes.append(node)
        warnings.extend(_warnings(logical, path))
    if not nodes:
        raise DockerfileError(
            "file with no instructions",
            span=whole_lines(path, max(lexer.number, 1), max(lexer.number, 1)),
        )
    return Document(
        path=path,
        source=text,
        nodes=tuple(nodes),
        directives=read_directives(text, path, lexer.escape),
        warnings=tuple(warnings),
    )


def _warnings(logical: Logical, path: str) -> Iterator[Finding]:
    if logical.empty_lines:
        yield Finding(
            rule="NoEmptyContinuation",
            message="Empty continuation line",
            span=whole_lines(path, logical.last, logical.last),
        )


def _node(lexer: Lexer, logical: Logical) -> Node:
    lines = whole_lines(lexer.path, logical.first, logical.last)
    try:
        node = _build(logical.text, logical.pieces, logical.comments, lines, lexer.escape)
        announced = marks(logical.text) if _takes_heredocs(node) else ()
    except DockerfileError as error:
        error.span = error.span or lines
        raise
    if not announced:
        return node
    heredocs = tuple(_heredoc(lexer, mark, lines) for mark in announced)
    return _with_heredocs(node, heredocs, whole_lines(lexer.path, logical.first, lexer.number))


def _build(  # noqa: PLR0917 - one caller besides itself
    text: str,
    pieces: tuple[Piece, ...],
    comments: tuple[str, ...],
    span: Span,
    escape: str,
    depth: int = 0,
) -> Node:
    """One node from its logical line; ONBUILD has another one inside."""
    command = split_command(text, escape)
    keyword = command.name.lower()
    child = None
    if keyword == "onbuild" and command.rest:
        if depth == MAX_ONBUILD:
            raise DockerfileError(f"ONBUILD nested more than {MAX_ONBUILD} deep")
        child = _build(command.rest, _shifted(pieces, command.start), (), span, escape, depth + 1)
    args, is_json = (
        _child_arguments(child) if child else split_arguments(keyword, command.rest, escape)
    )
    node = Node(
        keyword=keyword,
        name=command.name,
        original=text,
        value=command.rest,
        args=args,
        json=is_json,
        child=child,
        span=span,
        comments=comments,
        pieces=pieces,
    )
    flags = tuple(
        Flag(text=flag.text, span=node.locate(flag.start, flag.end)) for flag in command.flags
    )
    return replace(node, flags=flags) if flags else node


def _child_arguments(child: Node) -> tuple[tuple[str, ...], bool]:
    return (child.name, *child.args), False


def _shifted(pieces: tuple[Piece, ...], by: int) -> tuple[Piece, ...]:
    """The pieces of a part of the line, which begins at `by`."""
    return tuple(
        Piece(
            offset=max(piece.offset - by, 0),
            line=piece.line,
            column=piece.column + max(by - piece.offset, 0),
        )
        for piece, following in zip(pieces, (*pieces[1:], None), strict=True)
        if following is None or following.offset > by
    )


def _takes_heredocs(node: Node) -> bool:
    inner = node.child if node.keyword == "onbuild" and node.child else node
    return inner.keyword in HEREDOC_KEYWORDS and not inner.json


def _heredoc(lexer: Lexer, mark: Mark, lines: Span) -> Heredoc:
    body = lexer.body(mark.name, chomp=mark.chomp)
    if not body.terminated:
        raise DockerfileError(
            "unterminated heredoc", span=lines, hint=f"no line below is just {mark.name!r}"
        )
    return Heredoc(
        name=mark.name,
        fd=mark.fd,
        expand=mark.expand,
        chomp=mark.chomp,
        body=body.text,
        span=whole_lines(lexer.path, body.first, body.last),
    )


def _with_heredocs(node: Node, heredocs: tuple[Heredoc, ...], span: Span) -> Node:
    child = node.child and replace(node.child, heredocs=heredocs, span=span)
    return replace(node, heredocs=heredocs, span=span, child=child)


def _with_children(node: Node) -> Iterator[Node]:
    current: Node | None = node
    while current:
        yield current
        current = current.child


def _unknown(node: Node, source: str) -> DockerfileError:
    near = nearest(node.name, KEYWORDS)
    return DockerfileError(
        f"unknown instruction: {node.name}" + (f" (did you mean {near}?)" if near else ""),
        span=node.find(node.name),
        source=source,
        hint=f"did you mean {near}?" if near else "",
    )

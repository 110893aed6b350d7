"""The build graph: frozen ops, vertices, digests. Standard library only; knows no engine."""

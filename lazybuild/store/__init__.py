"""What outlives a build: blobs, layers, cache records, chunks, names. Knows no registry."""

from lazybuild.store.meta import Layer
from lazybuild.store.places import Place
from lazybuild.store.store import Store

__all__ = ["Layer", "Place", "Store"]

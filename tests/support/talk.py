"""A bridge over directories, and a client that speaks with it as a frontend does."""

import os
from contextlib import contextmanager
from dataclasses import dataclass, field

from lazybuild.bridge.answers import Bridge, Given, Made
from lazybuild.bridge.conversation import Conversation, Patience
from lazybuild.bridge.granted import Grants
from lazybuild.bridge.offer import offer
from lazybuild.errors import BuildError
from lazybuild.llb.graph import Edge, Vertex, walk
from lazybuild.llb.ops import ExecOp, Platform, SourceOp
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.wire import bridge as wire
from lazybuild.wire.asked import FoundSource
from lazybuild.wire.calls import Caller, open_channel
from lazybuild.wire.gateway import SERVICE, FoundImage, Gateway
from lazybuild.wire.pump import PipedSocket

HERE = Platform(os="linux", architecture="amd64")
SESSION = "the-session"
COMMIT = b"""\
tree 1
author A <a@b.c> 5 +0000
committer C <c> 9 <c@d.e> 77 -0130

committer X <x@y.z> 1 +0000
"""


class Directories:
    """Solves a graph to the directory that its first local source names; a command fails."""

    def __init__(self, places):
        self.places = places
        self.solved = []

    def tree(self, head):
        self.solved.append(head)
        for vertex in walk(head.vertex):
            if isinstance(vertex.op, ExecOp):
                error = BuildError(f"{vertex.name}: failed")
                error.span = next(iter(vertex.options.spans), None)
                raise error
        (source,) = (v.op for v in walk(head.vertex) if isinstance(v.op, SourceOp))
        return HostTree(self.places[source.identifier.removeprefix("local://")])

    def image(self, reference, platform):
        if reference == "bug":
            raise RuntimeError("a bug of ours")
        name = f"{reference}|{platform}"
        return FoundImage(reference=name, digest="sha256:" + "a" * 64, config=b"{}")

    def call(self, call):
        """Gives back what it was given."""
        return Made(heads=call.inputs, metadata={"told": repr(sorted(call.options)).encode()})

    def source(self, source, *, commit):
        whole = COMMIT if commit else b""
        return FoundSource(checksum="sha256:" + "b" * 64, name="file", changed=7, commit=whole)


@dataclass
class Talk:
    """Both ends of one conversation."""

    bridge: Bridge
    talk: Conversation
    engine: Directories
    events: list = field(default_factory=list)
    gateway: Gateway = None
    raw: Caller = None


def bridge_of(places, *, inputs=None, allow=(), patience=None):
    engine, events = Directories(places), []
    talk = Conversation(patience or Patience())
    grants = Grants(session=SESSION, locals=frozenset(places), entitlements=frozenset(allow))
    given = Given(offer=offer(HERE), grants=grants, inputs=inputs or {})
    return Talk(Bridge(engine, given, talk, events.append), talk, engine, events)


@contextmanager
def connected(door):
    """A channel over the descriptor that a frontend has as its standard input and output."""
    piped = PipedSocket(os.dup(door), os.dup(door))
    with open_channel(piped.target) as channel:
        yield channel
    piped.close()


@contextmanager
def speaking(door):
    with connected(door) as channel:
        yield Gateway(channel)


@contextmanager
def conversation(places, **given):
    """Both ends of one over `places`, directories by name."""
    both = bridge_of(places, **given)
    with wire.served(both.bridge) as door, connected(door) as channel:
        both.gateway, both.raw = Gateway(channel), Caller(channel, SERVICE)
        yield both


def local(name="context", **attrs):
    pairs = {"local.session": SESSION, **{f"local.{key}": value for key, value in attrs.items()}}
    return Edge(
        Vertex(op=SourceOp(identifier=f"local://{name}", attrs=tuple(sorted(pairs.items()))))
    )

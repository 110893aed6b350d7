"""Our own image as the root of a step: how a program of ours runs there. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from lazybuild.llb.graph import Edge, Vertex, VertexOptions
from lazybuild.llb.ops import ExecOp, Meta, Mount, NetworkMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """`python` is the interpreter in the image, `env` what it needs to find our modules, which lie
    in `app`; `loader` and `libraries` are what starts it where the image is not the root.
    """

    root: Edge
    python: str
    env: tuple[str, ...] = ()
    app: str = ""
    loader: str = ""
    libraries: tuple[str, ...] = ()

    def argv(self, module: str, *arguments: str) -> tuple[str, ...]:
        return (self.python, "-m", module, *arguments)

    def tracer(self, place: str) -> tuple[str, ...]:
        """How `frontend.tracer` is started where this image lies in a directory of another one.

        The environment is the step's and must mean nothing to it.
        """
        start = (
            f"import sys; sys.path.insert(0, {place + self.app!r});"
            " from frontend.tracer import main; sys.exit(main())"
        )
        libraries = ":".join(place + library for library in self.libraries)
        starter = (place + self.loader, "--library-path", libraries) if self.loader else ()
        return (*starter, place + self.python, "-I", "-S", "-B", "-c", start)

    def step(
        self,
        argv: tuple[str, ...],
        mounts: Sequence[Mount],
        inputs: Sequence[Edge],
        name: str,
    ) -> Vertex:
        """A step without a network. This image is its input 0; what becomes of it is output 0,
        which nobody wants but BuildKit, or it would be read-only.
        """
        root = Mount(dest="/", input=0, output=0)
        return Vertex(
            op=ExecOp(
                meta=Meta(args=argv, env=self.env),
                mounts=(root, *mounts),
                network=NetworkMode.NONE,
            ),
            inputs=(self.root, *inputs),
            platform=self.root.vertex.platform,
            options=VertexOptions(name=name),
        )

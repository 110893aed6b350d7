"""What is ready to be delivered, and the names that it is pushed by. Values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lazybuild.build.finish import Built
from lazybuild.errors import UsageError
from lazybuild.exporters.attestation import Attestation
from lazybuild.oci import platform, reference
from lazybuild.oci.reference import Reference
from lazybuild.request import Output
from lazybuild.snapshots.tree import Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """An image for one platform, its files where an output wants them, what is stated of it."""

    built: Built
    platform: Mapping[str, object]
    tree: Tree
    epoch: int | None = None
    stated: Attestation | None = None

    @property
    def folder(self) -> str:
        """Where its files go beside those for other platforms."""
        return str(platform.from_json(self.platform)).replace("/", "_")


def push_names(output: Output, tags: Sequence[Reference]) -> Sequence[Reference]:
    """Where an output pushes to: the names it has itself, else the image's."""
    if output.type != "registry":
        return ()
    own = [text for text in output.options.get("name", "").split(",") if text]
    names = [reference.parse(text) for text in own] or tags
    if not names:
        raise UsageError("--push needs a name", hint="give one with -t")
    return names

"""A command in an image: what the image's config and the caller say, as a step of the executor.

The rules are Docker's (docs: docker run, "Overriding image defaults").
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lazybuild.build.shelf import Shelf
from lazybuild.build.space import Space
from lazybuild.errors import UsageError
from lazybuild.executor import run as executor
from lazybuild.executor.output import OnOutput
from lazybuild.executor.run import Exit, Stdio
from lazybuild.executor.spec import StepMount, StepSpec
from lazybuild.llb.ops import NetworkMode
from lazybuild.oci.image import ContainerConfig

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOSTNAME = "lazybuild"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the caller wants otherwise than the image says. Empty means: as the image says.

    `entrypoint` None is the image's; () is none at all.
    """

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    cwd: str = ""
    mounts: tuple[StepMount, ...] = ()
    network: NetworkMode = NetworkMode.UNSET
    hostname: str = HOSTNAME
    add_hosts: tuple[tuple[str, str], ...] = ()


def run(space: Space, shelf: Shelf, wish: Wish, on_output: OnOutput, stdio: Stdio) -> Exit:
    """Run it over a layer of its own, which is thrown away. The space must have been entered."""
    container = shelf.config.config
    words = argv(container, wish)
    with shelf.snapshots.mount(shelf.snapshot) as step:
        spec = StepSpec(
            argv=words,
            rootfs=step.merged,
            env=environment(container, wish),
            cwd=wish.cwd or container.working_dir or "/",
            user=wish.user or container.user,
            mounts=wish.mounts,
            network=wish.network,
            hostname=wish.hostname,
            extra_hosts=wish.add_hosts,
            host=space.entered,
        )
        ended = executor.run(spec, on_output, space.stop, stdio)
    space.check()
    return ended


def argv(container: ContainerConfig, wish: Wish) -> tuple[str, ...]:
    """An entrypoint of the caller's also takes the image's CMD away."""
    if wish.entrypoint is None:
        words = (*(container.entrypoint or ()), *(wish.command or container.cmd or ()))
    else:
        words = (*wish.entrypoint, *wish.command)
    if not words:
        raise UsageError("the image names no command", hint="give one after the image")
    return words


def environment(container: ContainerConfig, wish: Wish) -> dict[str, str]:
    own = dict(item.split("=", 1) for item in container.env if "=" in item)
    return {"PATH": DEFAULT_PATH, "HOSTNAME": wish.hostname, **own, **wish.env}

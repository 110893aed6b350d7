"""SSH agents for steps: a socket of our own in the step, each connection passed on to the agent."""

from contextlib import ExitStack

from lazybuild.errors import BuildError
from lazybuild.executor import ssh
from lazybuild.executor.spec import BindMount
from lazybuild.llb.ops import Mount
from lazybuild.worker.services import Services


def mount(services: Services, stack: ExitStack, mount: Mount) -> BindMount | None:
    """The socket, or None for an agent that was not given and is not required."""
    given = services.agents.get(mount.id)
    if given is None:
        if mount.optional:
            return None
        raise BuildError(f"ssh agent {mount.id}: not given", hint=f"give --ssh {mount.id}")
    place = given.socket or ",".join(given.keys)
    directory = stack.enter_context(services.store.scratch.directory("agent"))
    path = stack.enter_context(
        ssh.lent(
            ssh.agent_socket(place, ""), directory, uid=mount.uid, gid=mount.gid, mode=mount.mode
        )
    )
    return BindMount(source=path, dest=mount.dest, movable=True)

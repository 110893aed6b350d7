"""The ssh agents of a build: those that it is given, and one of its own for private keys.

Keys never leave ssh-agent, a process outside of all namespaces that lives as long as the build.
Debian's ssh-agent is setgid, which clears a signal upon the parent's death; so it is a shell at the
other end of a pipe that ends it, however the builder ends.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from lazybuild.dockerfile.giturl import parse_git
from lazybuild.errors import HostError, UsageError
from lazybuild.request import BuildRequest, SshAgent

DEFAULT = "default"
TIMEOUT = 30
KEEPER = 'echo; cat >/dev/null; kill "$SSH_AGENT_PID"'


@contextmanager
def ready(request: BuildRequest) -> Iterator[BuildRequest]:
    """The request with a socket for every agent; those of keys last as long as the block."""
    with ExitStack() as stack:
        agents = tuple(
            agent if agent.socket else _served(stack, agent) for agent in _asked(request)
        )
        yield replace(request, ssh=agents)


def _asked(request: BuildRequest) -> Sequence[SshAgent]:
    """A context that git fetches over ssh is the user's own wish: his agent is lent to it."""
    socket = os.environ.get("SSH_AUTH_SOCK", "")
    if request.ssh or not socket or not _over_ssh(request.context):
        return request.ssh
    return (SshAgent(id=DEFAULT, socket=socket),)


def _over_ssh(context: str) -> bool:
    url = parse_git(context)
    return url is not None and url.scheme == "ssh"


def _served(stack: ExitStack, agent: SshAgent) -> SshAgent:
    home = stack.enter_context(tempfile.TemporaryDirectory(prefix="lazybuild-agent-"))
    socket = f"{home}/agent"
    try:
        process = subprocess.Popen(
            ["ssh-agent", "-a", socket, "sh", "-c", KEEPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise HostError(
            f"--ssh {agent.id}: there is no ssh-agent to hold keys",
            hint="install openssh-client",
        ) from error
    stack.enter_context(process)  # closes the pipe and waits
    if process.stdout is None or not process.stdout.readline():
        raise HostError(f"--ssh {agent.id}: ssh-agent does not start")
    _add(agent, socket)
    return replace(agent, socket=socket)


def _add(agent: SshAgent, socket: str) -> None:
    kept = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(Path.home())}
    done = subprocess.run(
        ["ssh-add", "-q", "--", *agent.keys],
        env={**kept, "SSH_AUTH_SOCK": socket, "SSH_ASKPASS_REQUIRE": "never"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
        start_new_session=True,  # no terminal to ask for a passphrase on
    )
    if done.returncode:
        words = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise UsageError(
            f"--ssh {agent.id}: {words or 'a key can not be read'}",
            hint="a key with a passphrase has to be in an agent: ssh-add it, then --ssh default",
        )

"""Capabilities by name and as masks. Numbers from linux/capability.h. Knows nothing else."""

from collections.abc import Iterable
from typing import Final

_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE"
    " NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO"
    " SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME"
    " SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG"
    " WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
NAMES: Final = tuple(_NAMES.split())

NUMBERS: Final = {name: number for number, name in enumerate(NAMES)}

_DOCKER = (
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW"
    " SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP"
)
DOCKER_DEFAULT: Final = tuple(_DOCKER.split())


def mask(names: Iterable[str]) -> int:
    """The set of `names` as the kernel writes it."""
    return sum(1 << NUMBERS[name] for name in set(names))


def has(capabilities: int, name: str) -> bool:
    return bool(capabilities >> NUMBERS[name] & 1)

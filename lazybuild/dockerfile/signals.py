"""The signals that STOPSIGNAL may name: Linux's, by number or name. Pure."""

_WORDS = (
    "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV"
    " STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX"
)
_REAL_TIME = [f"RTMIN+{n}" for n in range(1, 16)] + [f"RTMAX-{n}" for n in range(1, 15)]
_NAMES = frozenset([*_WORDS.split(), *_REAL_TIME])


def known(signal: str) -> bool:
    """Whether a container runtime understands it."""
    digits = signal.removeprefix("+").removeprefix("-")
    if digits.isascii() and digits.isdigit():
        return int(digits[:20]) != 0
    return signal.upper().removeprefix("SIG") in _NAMES

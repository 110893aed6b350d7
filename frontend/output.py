"""In which form a result is handed back, and which forms this BuildKit allows. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from frontend.options import TRUE
from lazybuild.errors import UsageError
from lazybuild.llb.ops import NetworkMode
from lazybuild.wire.containers import CAPABILITY
from lazybuild.wire.gateway import Offer

MODE = "LAZYBUILD_OUTPUT"
TRACE = "LAZYBUILD_TRACE"
LABEL = "org.mobyproject.buildkit.worker."
OURS = "lazybuild"
HINT = "start buildkitd with the host's network, or build with --network=host where it is allowed"


class Output(StrEnum):
    """`EXACT` hands layers of ours over, `HOT` puts a layer on top that says what comes first."""

    PLAIN = "plain"
    HOT = "hot"
    EXACT = "exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How a container beside the build meets BuildKit on the loopback; or why it does not."""

    network: NetworkMode = NetworkMode.UNSET
    obstacle: str = ""


def asked(build_args: Mapping[str, str], offer: Offer) -> Output | None:
    """What the user forces, or None for the best that there is; nothing need be done where
    lazybuild itself is the engine, whose layers are exact. Raises UsageError for other words.
    """
    default = Output.PLAIN if _labels(offer).get(f"{LABEL}executor") == OURS else ""
    word = build_args.get(MODE, "") or default
    try:
        return Output(word) if word else None
    except ValueError as error:
        known = ", ".join(Output)
        raise UsageError(f"{MODE}={word} is not supported", hint=f"{known} are") from error


def traced(build_args: Mapping[str, str]) -> bool:
    """Whether RUN steps are to be watched."""
    return build_args.get(TRACE, "").lower() in TRUE


def reach(offer: Offer, network: NetworkMode) -> Reach:
    """`network` is what the user forces on RUN steps: where that is the host's, BuildKit allows it.

    A worker's label tells which network its steps have by default; dockerd's tells "host" but is
    wrong, since dockerd puts its own networks below BuildKit.
    """
    lacking = [name for name in ("mergeop", "diffop") if not offer.llb.get(name, False)]
    if not offer.frontend.get(CAPABILITY, False):
        lacking.append(CAPABILITY)
    if lacking:
        return Reach(obstacle=f"BuildKit lacks {', '.join(lacking)}")
    if network is NetworkMode.HOST:
        return Reach(network=network)
    labels = _labels(offer)
    is_dockerd = any(name.startswith(f"{LABEL}moby.") for name in labels)
    if is_dockerd or labels.get(f"{LABEL}network") != "host":
        return Reach(obstacle="steps of this BuildKit do not share the network of its host")
    return Reach()


def _labels(offer: Offer) -> Mapping[str, str]:
    return offer.workers[0].labels if offer.workers else {}

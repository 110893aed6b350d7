"""Reads `--cache-from` and `--cache-to` as buildx does (docs: "Cache storage backends")."""

from lazybuild.cli.outputs import pairs
from lazybuild.errors import UsageError
from lazybuild.request import CacheSpec

TYPES = ("registry", "local", "inline")
MODES = ("min", "max")
ELSEWHERE = ("gha", "s3", "azblob")
IGNORED = frozenset(  # of BuildKit: our caches are OCI artifacts whose layers stay as they are
    {
        "image-manifest",
        "oci-mediatypes",
        "compression",
        "compression-level",
        "force-compression",
        "registry.insecure",
        "ignore-error",
        "reset",
    }
)
KNOWN = {
    "registry": frozenset({"ref", "mode"}),
    "local": frozenset({"src", "dest", "mode", "tag", "digest"}),
    "inline": frozenset({"mode"}),
}


def collect(texts: tuple[str, ...], flag: str) -> tuple[CacheSpec, ...]:
    return tuple(parse(text, flag) for text in texts)


def mounts(texts: tuple[str, ...], flag: str) -> tuple[CacheSpec, ...]:
    """The same for cache mounts, which no image can hold."""
    found = collect(texts, flag)
    if any(spec.type == "inline" for spec in found):
        raise UsageError(f"{flag}: type is registry or local")
    return found


def parse(text: str, flag: str) -> CacheSpec:
    """`type=registry,ref=NAME,mode=max`, `type=local,dest=DIR`, `type=inline`; a bare NAME is a
    registry's.
    """
    options = pairs(text, flag) if "=" in text else _bare(text)
    kind = options.pop("type", "")
    _check(kind, options, text, flag)
    place = options.get({"registry": "ref", "local": _place(flag)}.get(kind, ""), "")
    if kind != "inline" and not place:
        raise UsageError(
            f"{flag} {text!r}: {'ref' if kind == 'registry' else _place(flag)}= is missing"
        )
    mode = options.get("mode", "min")
    if mode not in MODES:
        raise UsageError(f"{flag} {text!r}: mode is min or max")
    return CacheSpec(
        type=kind,
        place=place,
        mode=mode,
        tag=options.get("tag", "latest"),
        digest=options.get("digest", ""),
        strict=options.get("ignore-error") == "false",
    )


def _bare(text: str) -> dict[str, str]:
    return {"type": "inline"} if text == "inline" else {"type": "registry", "ref": text}


def _place(flag: str) -> str:
    return "dest" if flag.endswith("-to") else "src"


def _check(kind: str, options: dict[str, str], text: str, flag: str) -> None:
    if kind in ELSEWHERE:
        raise UsageError(
            f"{flag} {text!r}: caches of type {kind} are not supported yet",
            hint="type=registry and type=local are",
        )
    if kind not in TYPES:
        raise UsageError(f"{flag} {text!r}: type must be one of {', '.join(TYPES)}")
    if kind == "inline" and flag == "--cache-from":
        raise UsageError(
            f"{flag} {text!r}: an inline cache is read by the image's name",
            hint="type=registry,ref=NAME",
        )
    unknown = sorted(options.keys() - KNOWN[kind] - IGNORED)
    if unknown:
        raise UsageError(f"{flag} {text!r}: type={kind} has no {unknown[0]}")

"""Reads `--sbom`, `--provenance` and `--attest` as buildx does (docs: "Build attestations").

Off unless asked for: an image stays one manifest, which every consumer understands.
"""

from typing import Any

from lazybuild.cli.dialect import FALSE, TRUE
from lazybuild.cli.outputs import pairs
from lazybuild.errors import UsageError

MODES = ("min", "max")


def sbom(given: dict[str, Any]) -> bool:
    """The last word counts."""
    found = False
    for text in (*_attested(given, "sbom"), *given["sbom"]):
        if "=" in text:
            raise UsageError(f"--sbom {text!r}: other generators can't be used")
        found = _truth(text, "--sbom")
    return found


def provenance(given: dict[str, Any]) -> str:
    """min, max, or "" for none."""
    found = ""
    for text in (*_attested(given, "provenance"), *given["provenance"]):
        if "=" in text:
            options = pairs(text, "--provenance")
            found = _mode(options.pop("mode", "min"), text)
            if options.keys() - {"version"} or options.get("version", "v1") != "v1":
                raise UsageError(f"--provenance {text!r}: only mode= and version=v1 are known")
        else:
            found = "min" if _truth(text, "--provenance") else ""
    return found


def _mode(text: str, whole: str) -> str:
    if text not in MODES:
        raise UsageError(f"--provenance {whole!r}: mode is min or max")
    return text


def _attested(given: dict[str, Any], kind: str) -> list[str]:
    """What --attest says of one kind, in the form of that kind's own flag."""
    found = []
    for text in given["attest"]:
        options = pairs(text, "--attest")
        if options.get("type") not in ("sbom", "provenance"):
            raise UsageError(f"--attest {text!r}: type is sbom or provenance")
        if options.pop("type") == kind:
            off = options.pop("disabled", "false").lower() in TRUE
            rest = ",".join(f"{name}={value}" for name, value in options.items())
            found.append("false" if off else rest or "true")
    return found


def _truth(text: str, flag: str) -> bool:
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise UsageError(f"{flag} {text!r}: neither true nor false")

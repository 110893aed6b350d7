"""What a build says at its end: one line for people, `--metadata-file` for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lazybuild.errors import LazybuildError, StepFailedError
from lazybuild.events import Warned
from lazybuild.request import BuildResult, BuildStats, LayerStats

KILOBYTE, MEGABYTE = 1000, 1_000_000
WHOLE_MEGABYTES = 9_500_000  # from here on a decimal says nothing


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= WHOLE_MEGABYTES else f"{size / 1e6:.1f} MB"


def amount(size: int) -> str:
    """The same for sizes that may be small."""
    if size >= MEGABYTE:
        return megabytes(size)
    return f"{size / 1e3:.0f} kB" if size >= KILOBYTE else f"{size} B"


def last_line(result: BuildResult) -> str:
    """`myimg:lazy  sha256:…  3 layers 41 MB  ·  base 497 MB, read 31 MB (6 %)  ·  2.1 s`."""
    stats = result.stats
    own = [layer for layer in stats.layers if layer.mode == "local"]
    names = " ".join(result.names) or "(no name)"
    made = f"{len(own)} layer{'s' if len(own) != 1 else ''} {megabytes(total(own))}"
    parts = [f"{names}  {result.digest}  {made}"]
    base = [layer for layer in stats.layers if layer.mode != "local"]
    if base:
        parts.append(base_part(base))
    parts.append(f"{stats.wall_seconds:.1f} s")
    return "  ·  ".join(parts)


def base_part(base: list[LayerStats]) -> str:
    size, read = total(base), sum(layer.bytes_fetched for layer in base)
    share = f" ({100 * read / size:.0f} %)" if size else ""
    return f"base {megabytes(size)}, read {megabytes(read)}{share}"


def total(layers: list[LayerStats]) -> int:
    return sum(layer.size for layer in layers)


def metadata(result: BuildResult) -> dict[str, object]:
    """The keys that buildx writes, and `lazybuild.stats`."""
    config = {"containerimage.config.digest": result.config_digest} if result.config_digest else {}
    document: dict[str, object] = {
        **config,
        "containerimage.descriptor": dict(result.descriptor),
        "containerimage.digest": result.digest,
    }
    if result.names:
        document["image.name"] = ",".join(result.names)
    document["lazybuild.stats"] = stats_document(result.stats)
    return document


def stats_document(stats: BuildStats) -> dict[str, object]:
    document = asdict(stats)
    for entry in document["prefetch"]:
        entry["from"] = list(entry.pop("sources"))
    return document


def write_metadata(
    path: str, result: BuildResult, warnings: Sequence[Warned] | None = None
) -> None:
    """`warnings` in the form of BuildKit's, for those who asked for them."""
    document = metadata(result)
    if warnings is not None:
        from lazybuild.cli.progress.rawjson import warning  # noqa: PLC0415 - seldom wanted

        document["buildx.build.warnings"] = [warning(item) for item in warnings]
    _write(path, document)


def write_failure(path: str, error: LazybuildError, step: str, code: int) -> None:
    """`status` is what a RUN command ended with, 0 when none did."""
    status = error.status if isinstance(error, StepFailedError) else 0
    told = {"message": error.message, "step": step, "status": status, "exit_code": code}
    _write(path, {"lazybuild.failure": told})


def _write(path: str, document: dict[str, object]) -> None:
    Path(path).write_text(json.dumps(document, indent=2) + "\n")

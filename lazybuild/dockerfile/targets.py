"""The `targets` subrequest: which stages can be built, for `--call=targets`. Pure."""

from lazybuild.dockerfile.compile import targets as stages_of
from lazybuild.dockerfile.gojson import Json, content, indented, location, table, without_empty
from lazybuild.dockerfile.nodes import Document

VERSION = "1.0.0"


def targets_text(document: Document) -> str:
    stages = stages_of(document)
    rows = [("TARGET", "DESCRIPTION")]
    for stage in stages:
        name = stage.name
        if stage is stages[-1]:
            name = f"{name} (default)" if name else "(default)"
        rows.append((name, stage.description))
    return table(rows, padding=1)


def targets_json(document: Document) -> str:
    stages = stages_of(document)
    listed: list[Json] = [
        without_empty(
            {
                "name": stage.name,
                "default": stage is stages[-1],
                "description": stage.description,
                "base": stage.base,
                "platform": stage.platform,
                "location": location(stage.span),
            }
        )
        for stage in stages
    ]
    return indented({"targets": listed, "sources": [content(document.source)]})

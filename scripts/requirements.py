"""Prints the requirements that pyproject.toml names: `run`, or `dev` for all of them."""

import sys
import tomllib
from pathlib import Path


def main() -> None:
    kind, path = sys.argv[1:]
    project = tomllib.loads(Path(path).read_text())
    wanted = list(project["project"]["dependencies"])
    if kind == "dev":
        wanted += project["project"]["optional-dependencies"]["buildkit"]
        wanted += project["dependency-groups"]["dev"]
    print("\n".join(wanted))  # noqa: T201 - its output


if __name__ == "__main__":
    main()

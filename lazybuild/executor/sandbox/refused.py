"""How the sandbox tells what it can't do. Imports nothing."""


class RefusedError(Exception):
    """What can't be done; `kind` is the word of the report: "host" or "build"."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def describe(failure: OSError) -> str:
    about = f" ({failure.filename})" if failure.filename else ""
    return f"{failure.strerror}{about}"

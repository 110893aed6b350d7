"""The libraries that speak BuildKit's protocols: an extra of the package, not everybody's."""

from collections.abc import Iterator
from contextlib import contextmanager

from lazybuild.errors import HostError


@contextmanager
def libraries(what: str) -> Iterator[None]:
    """Around an import that `what` needs."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise HostError(
            f"{what} needs {error.name}, which is not installed",
            hint="pip install 'lazybuild[buildkit]'",
        ) from error

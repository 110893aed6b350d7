"""A client with short waits, and an image that tests put into registries."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from support.registry import LocalRegistry

from lazybuild.events import Event
from lazybuild.registry.client import Registry
from lazybuild.registry.config import RegistryConfig


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def client(events: list[Event], tmp_path) -> Iterator[Callable[..., Registry]]:
    """Make a Registry: no files of this machine, and waits of milliseconds."""
    with ExitStack() as stack:

        def make(**options) -> Registry:
            quick = {
                "environ": {"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path)},
                "retry_wait": 0.01,
                "stall_timeout": 0.4,
                "connect_timeout": 2.0,
                "patience": 0.0,
            }
            config = RegistryConfig(**(quick | options))
            return stack.enter_context(Registry(config, events.append))

        yield make


@pytest.fixture
def registry() -> Iterator[LocalRegistry]:
    with LocalRegistry() as registry:
        yield registry

"""For every test: support code imports, and nothing of the caller's environment leaks in."""

import os
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # its threads in a child keep that from namespaces

_SCRUBBED = re.compile(
    r"(DOCKER|BUILDKIT|BUILDX|LAZYBUILD|REGISTRY|XDG)_.*|SOURCE_DATE_EPOCH|NO_COLOR"
    r"|(https?|ftp|no|all)_proxy",
    re.IGNORECASE,
)


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="write golden files instead of comparing"
    )
    parser.addoption("--part", default="1/1", help="N/M: only each M-th file, from the N-th on")


def pytest_collection_modifyitems(config, items):
    """Files are not taken apart: their tests may share what is dear to make."""
    number, parts = map(int, config.getoption("--part").split("/"))
    files = {path: index for index, path in enumerate(sorted({item.path for item in items}))}
    items[:] = [item for item in items if files[item.path] % parts == number - 1]


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory):
    """The environment of a user who has configured nothing, with a home of this session's."""
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if _SCRUBBED.fullmatch(name)]:
        patch.delenv(name)
    patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    yield
    patch.undo()


@pytest.fixture
def update_golden(request):
    return request.config.getoption("--update-golden")


def pytest_report_header():
    return f"as user {os.getuid()}, {'in CI: a skipped test is a failure' if _in_ci() else 'local'}"


def pytest_runtest_logreport(report):
    if report.skipped and _in_ci() and not _allowed(report):
        _skipped.append(f"{report.nodeid}: {report.longrepr[-1]}")


def pytest_sessionfinish(session):
    if _skipped and session.exitstatus == 0:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    for line in _skipped:
        terminalreporter.write_line(f"SKIPPED IN CI, which is a failure: {line}", red=True)


_skipped: list[str] = []


def _in_ci():
    return os.environ.get("CI") == "true"


def _allowed(report):
    """Peers that no package of the distribution has are reported as not run, and that is all."""
    return "not run:" in str(report.longrepr[-1])

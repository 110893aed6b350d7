"""BuildKit's SolveStatus as its JSON decoder takes it: names and kinds, and nothing else.

Source: moby/buildkit client/graph.go and the field names of solver/pb/ops.proto.
"""

import base64
import json
import re
from datetime import datetime

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest(value):
    assert _DIGEST.fullmatch(value), value


def moment(value):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", value), value
    datetime.fromisoformat(value)


def data(value):
    base64.b64decode(value, validate=True)


def text(value):
    assert isinstance(value, str)


def number(value):
    assert type(value) is int
    assert -(1 << 63) <= value < 1 << 63


def switch(value):
    assert type(value) is bool


def many(kind):
    return lambda values: [kind(value) for value in values]


def record(*needed, **fields):
    def check(value):
        assert set(needed) <= set(value) <= set(fields), value
        for name, item in value.items():
            fields[name](item)

    return check


POSITION = record(line=number, character=number)
VERTEX = record(
    "digest",
    digest=digest, inputs=many(digest), name=text, started=moment, completed=moment,
    cached=switch, error=text,
)  # fmt: skip
STATUS = record(
    "id", "current", "timestamp",
    id=text, vertex=digest, name=text, total=number, current=number, timestamp=moment,
    started=moment, completed=moment,
)  # fmt: skip
LOG = record("data", "timestamp", vertex=digest, stream=number, data=data, timestamp=moment)
WARNING = record(
    vertex=digest, level=number, short=data, detail=many(data), url=text,
    sourceInfo=record(filename=text, data=data, language=text),
    range=many(record(start=POSITION, end=POSITION)),
)  # fmt: skip
SOLVE_STATUS = record(
    vertexes=many(VERTEX), statuses=many(STATUS), logs=many(LOG), warnings=many(WARNING)
)


def read(output):
    """The statuses of a build, each checked, merged by kind."""
    merged = {"vertexes": [], "statuses": [], "logs": [], "warnings": []}
    for line in output.splitlines():
        status = json.loads(line)
        SOLVE_STATUS(status)
        for kind, items in status.items():
            merged[kind] += items
    return merged

"""Errors on the wire: a place comes through, and what makes no sense is no place."""

import json

import pytest

from lazybuild.errors import DockerfileError, Span
from lazybuild.wire import faults
from lazybuild.wire.buildkit_frontend_protos.status_pb2 import Status
from lazybuild.wire.faults import Place, RemoteError, place_of, read_status, status, status_of

PLACE = Place(span=Span(path="Dockerfile", line=2, end_line=3), data=b"a\nb\nc\n")


def test_a_place_comes_through():
    made = status_of(DockerfileError("wrong"), PLACE)
    assert place_of(Status.FromString(made.SerializeToString())) == PLACE


def test_the_form_is_buildkits():
    (detail,) = status_of(DockerfileError("wrong"), PLACE).details
    assert detail.type_url == "github.com/moby/buildkit/errdefs.Source+json"
    assert json.loads(detail.value) == {
        "info": {"filename": "Dockerfile", "data": "YQpiCmMK", "language": "Dockerfile"},
        "ranges": [{"start": {"line": 2}, "end": {"line": 3}}],
    }


def test_a_hint_is_said_once():
    assert status_of(DockerfileError("no x (did you mean y?)", hint="did you mean y?")).message == (
        "no x (did you mean y?)"
    )
    assert status_of(DockerfileError("no x", hint="try y")).message == "no x\ntry y"


def test_what_the_daemon_said_goes_on_unchanged_but_for_a_place_that_it_lacks():
    said = status("failed", code=5, details={"errdefs.Vertex": {"digest": "d"}})
    error = RemoteError("failed", status=said)
    assert status_of(error) == said
    whole = status_of(error, PLACE)
    assert (whole.code, place_of(whole)) == (5, PLACE)
    other = Place(span=Span(path="x", line=1, end_line=1), data=b"")
    assert place_of(status_of(RemoteError("failed", status=whole), other)) == PLACE


@pytest.mark.parametrize(
    "value",
    [
        b"{",
        b"[]",
        b"5",
        b"null",
        b'{"info": {}, "ranges": []}',
        b'{"info": {"filename": "f"}, "ranges": [{"start": {"line": "x"}}]}',
        b'{"info": {"filename": "f", "data": "*"}, "ranges": [{"start": {"line": 1}}]}',
        b'{"info": 5, "ranges": {"0": 1}}',
        b"\xff\xfe",
    ],
)
def test_details_that_make_no_sense_are_no_place(value):
    made = status("failed", details={"errdefs.Source": {}})
    made.details[0].value = value
    assert place_of(made) is None


def test_a_status_that_can_not_be_read_is_the_calls_own():
    found = read_status(b"\xff\xff", code=14, message="gone")
    assert (found.code, found.message) == (14, "gone")
    assert read_status(b"", code=faults.UNKNOWN, message="x").message == "x"


def test_text_that_is_not_utf_8_is_shown_as_well_as_it_can_be():
    assert status("bad \udcff").message == "bad ?"

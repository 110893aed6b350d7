"""What the views make of the events of a build."""

import base64
import io
import json
import re
import time

import pytest
from support.screen import lines

from lazybuild.cli import views
from lazybuild.cli.progress import escape
from lazybuild.cli.progress.plain import PlainView, amounts
from lazybuild.cli.progress.rawjson import RawJsonView
from lazybuild.cli.progress.tty import TtyView
from lazybuild.events import Noted, Ready, Transfer, VertexDone, VertexLog, VertexStarted, Warned

T = 1_700_000_000.0

EVENTS = [
    Noted(message="tier T1: all there", time=T),
    VertexStarted(vertex="sha256:a", name="[1/2] FROM base", time=T),
    Transfer(vertex="sha256:a", id="sha256:layer", current=1_500_000, total=3_000_000, time=T + 9),
    Transfer(
        vertex="sha256:a", id="sha256:layer", current=3_000_000, total=3_000_000, done=True, time=T
    ),
    VertexDone(vertex="sha256:a", name="[1/2] FROM base", cached=True, time=T + 0.5),
    VertexStarted(vertex="sha256:b", name="[2/2] RUN make", inputs=("sha256:a",), time=T + 1),
    VertexLog(vertex="sha256:b", data=b"one\ntw", time=T + 1.25),
    VertexLog(vertex="sha256:b", data=b"o\n\x1b[31mred\x1b[0m\n", time=T + 1.5),
    VertexLog(vertex="sha256:b", data=b"10%\r20%\r\n", stream=2, time=T + 1.5),
    Warned(message="mind the gap", vertex="sha256:b", detail=("far", "wide"), time=T + 2),
    VertexLog(vertex="sha256:b", data=b"no newline", time=T + 2.5),
    VertexDone(vertex="sha256:b", name="[2/2] RUN make", error="exit code: 2", time=T + 3),
]

PLAIN = """\
tier T1: all there
#1 [1/2] FROM base
#1 sha256:layer 1.5MB / 3.0MB
#1 sha256:layer 3.0MB / 3.0MB done
#1 CACHED

#2 [2/2] RUN make
#2 0.250 one
#2 0.500 two
#2 0.500 red
#2 0.500 20%
WARNING: mind the gap
#2 2.000 no newline
#2 ERROR: exit code: 2
"""


def told(view, events=EVENTS):
    for event in events:
        view(event)
    view.close()
    return view


def test_plain_lines_are_stable():
    out = io.StringIO()
    told(PlainView(out, escape.plain_text))
    assert out.getvalue() == PLAIN


def test_plain_says_again_whose_line_it_is_when_steps_take_turns():
    out = io.StringIO()
    told(
        PlainView(out, escape.plain_text),
        [
            VertexStarted(vertex="a", name="A", time=T),
            VertexStarted(vertex="b", name="B", time=T),
            VertexLog(vertex="a", data=b"1\n", time=T),
            VertexLog(vertex="b", data=b"2\n", time=T),
            VertexLog(vertex="a", data=b"3\n", time=T),
            VertexDone(vertex="a", name="A", time=T + 1.26),
        ],
    )
    assert out.getvalue() == (
        "#1 A\n#1 0.000 1\n\n#2 B\n#2 0.000 2\n\n#1 A\n#1 0.000 3\n#1 DONE 1.3s\n"
    )


def test_logs_of_unknown_steps_are_left_out():
    out = io.StringIO()
    told(PlainView(out, escape.plain_text), [VertexLog(vertex="x", data=b"lost\n", time=T)])
    assert out.getvalue() == ""


def test_transfers_are_told_every_few_seconds_and_at_the_end():
    out = io.StringIO()
    events = [VertexStarted(vertex="a", name="A", time=T)]
    events += [
        Transfer(vertex="a", id="blob", current=n, total=0, time=T + n / 10) for n in range(100)
    ]
    events.append(Transfer(vertex="a", id="blob", current=100, total=0, done=True, time=T + 10))
    told(PlainView(out, escape.plain_text), events)
    assert len(re.findall("blob", out.getvalue())) == 3


def test_amounts():
    assert amounts(Transfer(vertex="", id="", current=1_234_567, total=0)) == "1.2MB"
    assert amounts(Transfer(vertex="", id="", current=1, total=10**9, done=True)) == (
        "0.0MB / 1000.0MB done"
    )


def rawjson(events=EVENTS):
    out = io.StringIO()
    told(RawJsonView(out), events)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_rawjson_is_solve_status():
    lines = rawjson()
    assert {key for line in lines for key in line} == {"vertexes", "statuses", "logs", "warnings"}
    assert all(len(line) == 1 for line in lines)
    vertexes = [item for line in lines for item in line.get("vertexes", [])]
    assert vertexes[1] == {
        "digest": "sha256:a",
        "name": "[1/2] FROM base",
        "started": "2023-11-14T22:13:20Z",
        "completed": "2023-11-14T22:13:20.500000Z",
        "cached": True,
    }
    assert vertexes[2]["inputs"] == ["sha256:a"]
    assert "completed" not in vertexes[2]
    assert vertexes[3]["error"] == "exit code: 2"


def test_rawjson_carries_output_untouched():
    logs = [item for line in rawjson() for item in line.get("logs", [])]
    data = b"".join(base64.b64decode(item["data"]) for item in logs if item["stream"] == 1)
    assert data == b"one\ntwo\n\x1b[31mred\x1b[0m\nno newline"
    assert {item["vertex"] for item in logs} == {"sha256:b"}


def test_rawjson_statuses_and_warnings():
    lines = rawjson()
    statuses = [item for line in lines for item in line.get("statuses", [])]
    assert (statuses[0]["current"], statuses[0]["total"]) == (1_500_000, 3_000_000)
    assert ["completed" in status for status in statuses] == [False, True]
    (warning,) = [item for line in lines for item in line.get("warnings", [])]
    assert base64.b64decode(warning["short"]) == b"mind the gap"
    assert [base64.b64decode(text) for text in warning["detail"]] == [b"far", b"wide"]


def test_rawjson_bytes_that_are_not_text():
    events = [EVENTS[1], VertexLog(vertex="sha256:a", data=b"\xff\x00\n", time=T)]
    assert base64.b64decode(rawjson(events)[-1]["logs"][0]["data"]) == b"\xff\x00\n"


def test_tty_prints_each_finished_step_once():
    out = io.StringIO()
    told(TtyView(out), EVENTS)
    text = out.getvalue()
    assert text.count("CACHED [1/2] FROM base") == 1
    assert text.count("ERROR [2/2] RUN make") == 1
    assert "WARNING: mind the gap" in text
    assert "\x1b[31mred" not in text


def test_tty_draws_from_a_thread_only_once_it_is_ready():
    out = io.StringIO()
    view = TtyView(out)
    assert view._ticker is None
    view(Ready())
    assert view._ticker is not None
    view.close()
    assert not view._ticker.is_alive()


def test_all_views_keep_the_tail_of_the_failed_step():
    for view in (
        PlainView(io.StringIO(), escape.plain_text),
        RawJsonView(io.StringIO()),
        TtyView(io.StringIO()),
        views.QuietView(io.StringIO()),
    ):
        failed = views.failed_step(told(view))
        assert failed is not None
        assert list(failed.tail) == ["one", "two", "\x1b[31mred\x1b[0m", "20%", "no newline"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[2J\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link", "link"),
        ("a\x00b\x08c\x7f", "abc"),
        ("tab\tstays", "tab\tstays"),
        ("\x1bcreset", "reset"),
    ],
)
def test_control_sequences_go(line, shown):
    assert escape.plain_text(line) == shown


@pytest.mark.parametrize("line", ["::error file=x::y", "  ::set-output name=a::b", "##[group]x"])
def test_workflow_commands_are_broken_on_github(line):
    shown = escape.github(line)
    assert not re.match(r"\s*(::|##\[)", shown)
    assert shown.replace("\u200b", "") == line


def test_colons_elsewhere_stay_on_github():
    assert escape.github("std::vector ##[x]") == "std::vector ##[x]"


def test_a_command_hidden_behind_a_sequence_is_broken_too():
    assert not escape.github("\x1b[0m::error::x").startswith("::")


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("plain", PlainView), ("rawjson", RawJsonView), ("quiet", views.QuietView)],
)
def test_a_mode_opens_its_view(mode, kind):
    assert isinstance(views.open_view(mode), kind)


def test_auto_is_plain_without_a_terminal():
    assert isinstance(views.open_view("auto"), PlainView)


def test_quiet_shows_warnings_only():
    out = io.StringIO()
    view = told(views.QuietView(out))
    assert out.getvalue() == "WARNING: mind the gap\n"
    assert view.steps.failed().error == "exit code: 2"


# --- heartbeat -----------------------------------------------------------------------------------


def test_a_silent_step_is_told_to_be_running_still():
    out = io.StringIO()
    view = PlainView(out, escape.plain_text, patience=0.2)
    view(Ready())
    now = time.time()
    view(VertexStarted(vertex="a", name="[1/2] RUN sleep", time=now))
    view(VertexStarted(vertex="b", name="[1/2] RUN quick", time=now))
    view(VertexDone(vertex="b", name="[1/2] RUN quick", time=now))
    end = now + 5
    while out.getvalue().count("still running") < 2 and time.time() < end:
        time.sleep(0.02)
    view.close()
    lines = [line for line in out.getvalue().splitlines() if "still running" in line]
    assert len(lines) >= 2
    assert all(line.startswith("#1 still running after 0s") for line in lines[:2])
    assert not any(line.startswith("#2 still") for line in lines)


def test_a_step_that_speaks_needs_no_heartbeat():
    out = io.StringIO()
    view = PlainView(out, escape.plain_text, patience=0.4)
    view(Ready())
    view(VertexStarted(vertex="a", name="[1/2] RUN talk"))
    for _ in range(8):
        time.sleep(0.1)
        view(VertexLog(vertex="a", data=b"word\n"))
    view.close()
    assert "still running" not in out.getvalue()


HOSTILE = "\x1b[31m\x1b]0;title\x07red\n::error file=x::y\r"


@pytest.mark.parametrize("kind", ["plain", "quiet", "tty"])
def test_names_warnings_notes_and_errors_of_others_command_nobody(kind):
    out = io.StringIO()
    view = {
        "plain": lambda: PlainView(out, escape.github),
        "quiet": lambda: views.QuietView(out, escape.github),
        "tty": lambda: TtyView(out),
    }[kind]()
    told(
        view,
        [
            VertexStarted(vertex="v", name=HOSTILE, time=T),
            Warned(message=HOSTILE),
            Noted(message=HOSTILE),
            Transfer(vertex="v", id=HOSTILE, current=1, total=1, done=True, time=T),
            VertexDone(vertex="v", name=HOSTILE, error=HOSTILE, time=T),
        ],
    )
    text = out.getvalue()
    assert "red" in text
    assert "title" not in text
    assert not re.search(r"\x1b\[31m|[\r\x07]", text)
    assert kind == "tty" or not re.search(r"^::", text, re.MULTILINE)
    assert "\n" not in view.steps.failed().name


# --- what a terminal shows -----------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_tty_shows_what_runs_and_what_is_done_each_once(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    view = TtyView(terminal)
    view(Ready())
    view(VertexStarted(vertex="sha256:a", name="[1/2] RUN a", time=T))
    view(VertexLog(vertex="sha256:a", data=b"working\n", time=T))
    end = time.monotonic() + 5
    while "working" not in terminal.getvalue() and time.monotonic() < end:
        time.sleep(0.01)
    running = lines(terminal.getvalue())
    assert running[0].startswith(" => [1/2] RUN a ")
    assert running[1:] == [" => => working"]
    view(VertexDone(vertex="sha256:a", name="[1/2] RUN a", time=T + 1))
    assert lines(terminal.getvalue()) == [" => [1/2] RUN a  1.0s"]
    view.close()
    assert lines(terminal.getvalue()) == [" => [1/2] RUN a  1.0s"]

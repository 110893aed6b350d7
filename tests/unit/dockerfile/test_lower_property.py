"""No Dockerfile makes the compiler fail with anything but an error that says where."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from support.dockerfiles import Images, compiled, image

from lazybuild.dockerfile.nodes import KEYWORDS
from lazybuild.errors import DockerfileError, RegistryError

WORDS = st.sampled_from(
    [
        "debian", "scratch", "AS", "a", "b", "0", "1", "-1", "/", ".", "..", "a/./b", "*", "a*[",
        "$A", "${A:-b}", "${", "$", "'", '"', "\\", "[", "]", '["a"]', '["a", "b"]', "[]", "{}",
        "<<E", "<<-E", "=", "A=1", "A=", "A=$A", "--", "--x", "--link", "--parents", "--unpack",
        "--from=a", "--from=0", "--from=$A", "--chown=a:b", "--chown=:", "--chmod=7", "--chmod=u+x",
        "--exclude=*", "--checksum=sha256:0", "--keep-git-dir", "--platform=linux/arm64",
        "--platform=$A", "--platform=x", "--mount=type=cache,target=/c", "--mount=from=a,target=b",
        "--mount=type=secret,id=s,env=E", "--mount=type=ssh", "--mount=,", "--mount=target=/",
        "--network=none", "--security=insecure", "--interval=1s", "--retries=x", "NONE", "CMD",
        "RUN", "COPY", "80", "80-90/udp", "1-99999", "9" * 30, "SIGTERM", "git@h:p.git",
        "https://x/y", "https://x/y.git#r:s", "https://[", "http://x/", "\udcff", "é", "\x00", "#",
    ]
)  # fmt: skip


def with_bodies(line):
    return line + "\nbody $A\nE" * line.count("<<")


LINES = st.builds(
    lambda keyword, words: with_bodies(" ".join([keyword.upper(), *words])),
    st.sampled_from(KEYWORDS),
    st.lists(WORDS, max_size=4),
)
TEXTS = st.builds(
    lambda first, lines: "\n".join([first, *lines]),
    st.sampled_from(["FROM debian AS a", "ARG A=debian\nFROM $A", "FROM scratch", "FROM trigger"]),
    st.lists(LINES, max_size=6),
)


def outcome(text):
    """The error, or None."""
    images = Images(trigger=image(on_build=("COPY --from=a x y", "ENV A=$A")), a=image())
    try:
        compiled(text.encode("utf-8", "surrogateescape").decode("latin-1"), images)
    except (DockerfileError, RegistryError) as error:
        return error
    return None


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_every_error_has_a_place(text):
    error = outcome(text)
    if isinstance(error, DockerfileError):
        assert error.span is not None
        assert 1 <= error.span.line <= text.count("\n") + 1


@pytest.mark.parametrize("text", ["FROM debian AS a\nRUN <<E\nbody $A\nE", "FROM scratch"])
def test_the_texts_can_be_right(text):
    assert outcome(text) is None

"""Config and history: what each instruction writes, and what a child stage inherits."""

import pytest
from support.dockerfiles import PATH, Images, compiled, history, image

BASE = Images(
    base=image(cmd=("old",), entrypoint=("e",), env=(PATH, "A=base"), labels={"k": "v"}, shell=())
)


def config(text):
    return compiled(f"FROM base\n{text}\n", BASE).config.config


def lines(text):
    return history(compiled(f"FROM base\n{text}\n", BASE))


def test_env_keeps_places_and_adds_behind():
    assert config("ENV B=1 A=2").env == (PATH, "A=2", "B=1")


def test_entrypoint_clears_an_inherited_command():
    assert config('ENTRYPOINT ["x"]').cmd is None
    assert config('CMD ["c"]\nENTRYPOINT ["x"]').cmd == ("c",)
    assert config('ENTRYPOINT ["x"]\nCMD ["c"]').cmd == ("c",)


def test_empty_forms():
    assert config("ENTRYPOINT []").entrypoint is None
    assert config("CMD []").cmd == ()


def test_a_stage_command_counts_only_in_its_stage():
    text = 'FROM base AS a\nCMD ["c"]\nFROM a\nENTRYPOINT ["x"]\n'
    assert compiled(text, BASE).config.config.cmd is None


def test_labels_add_up():
    assert config("LABEL a=1 k=w").labels == {"k": "w", "a": "1"}


def test_shell_form_uses_the_shell():
    assert config('SHELL ["/bin/zsh", "-c"]\nCMD a b').cmd == ("/bin/zsh", "-c", "a b")
    assert config("CMD a b").cmd == ("/bin/sh", "-c", "a b")


def test_health():
    health = config("HEALTHCHECK --interval=2s --retries=2 CMD a  b").healthcheck
    assert health is not None
    assert health.test == ("CMD-SHELL", "a  b")
    assert (health.interval, health.retries, health.timeout) == (2 * 10**9, 2, 0)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ENV A=1 B='x y'", "- ENV A=1 B=x y"),
        ("ARG X Y=1", "- ARG X Y=1"),
        ("LABEL a=b", "- LABEL a=b"),
        ('CMD ["a", "b\\"c"]', '- CMD ["a" "b\\"c"]'),
        ("ENTRYPOINT x", '- ENTRYPOINT ["/bin/sh" "-c" "x"]'),
        ("EXPOSE 80/TCP 5", "- EXPOSE [5/tcp 80/tcp]"),
        ("USER a:b", "- USER a:b"),
        ("VOLUME /b /a", "- VOLUME [/b /a]"),
        ("STOPSIGNAL 9", "- STOPSIGNAL 9"),
        ('SHELL ["/s", "-c"]', "- SHELL [/s -c]"),
        ("MAINTAINER a b", "- MAINTAINER a b"),
        ("WORKDIR /", "- WORKDIR /"),
        ("WORKDIR x", "WORKDIR /x"),
        ("RUN a  b", "RUN /bin/sh -c a  b # buildkit"),
        ('RUN ["a", "b c"]', "RUN a b c # buildkit"),
        ("COPY --link --chown=1 --exclude=x a b /c", "COPY --chown=1 a b /c # buildkit"),
        ("ADD --chmod=644 a /c", "ADD --chmod=644 a /c # buildkit"),
        ("COPY --parents a /c", "COPY --parents a /c # buildkit"),
        ("COPY --from=base a c", "COPY a c # buildkit"),
    ],
)
def test_history(text, line):
    assert lines(text) == [line]


def test_onbuild_leaves_no_history():
    assert lines("ONBUILD RUN x") == []
    assert config("ONBUILD RUN x").on_build == ("RUN x",)


def test_every_line_is_marked_as_the_frontends():
    result = compiled("FROM base\nENV A=1\nRUN x\n", BASE)
    assert {line.comment for line in result.config.history[1:]} == {"buildkit.dockerfile.v0"}


def test_secrets_leave_no_trace_in_history():
    assert lines("RUN --mount=type=secret,id=x,env=X cat") == ["RUN /bin/sh -c cat # buildkit"]

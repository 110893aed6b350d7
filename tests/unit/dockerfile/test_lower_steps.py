"""RUN, COPY, ADD and the rest: the ops they become and the refusals that need an environment."""

import pytest
from support.dockerfiles import Images, compiled, history, image, last_op, names, vertices

from lazybuild.errors import DockerfileError, NotSupportedYetError
from lazybuild.llb.ops import (
    CopyAction,
    ExecOp,
    MergeOp,
    MkDirAction,
    MkFileAction,
    MountType,
    NetworkMode,
    Owner,
    SecurityMode,
    SourceOp,
    User,
)


def refused(text, **options):
    with pytest.raises(DockerfileError) as caught:
        compiled(text, **options)
    return caught.value


def run(text, images=None, **options):
    op = last_op(compiled(text, images, **options))
    assert isinstance(op, ExecOp)
    return op


def copy(text, **options):
    action = last_op(compiled(text, **options)).actions[-1].action
    assert isinstance(action, CopyAction)
    return action


def mounts(text, **options):
    return {mount.dest: mount for mount in run(text, **options).mounts}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("COPY https://x.org/a /b", "source can't be a URL for COPY"),
        ("COPY https://x.org/a.git /b", "source can't be a git ref for COPY"),
        ("COPY --chmod=9 a /b", "invalid chmod parameter"),
        ("COPY --chmod=$M a /b", "invalid chmod parameter"),
        ("ADD --checksum=sha256:1 a /b", "checksum requires HTTP(S) or Git sources"),
        ("ADD --checksum=sha256:1 https://x.org/a /b", "invalid checksum digest format"),
        ("ADD --checksum=x https://x.org/a https://x.org/b /b", "for multiple sources"),
        ("ADD https://x.org/a.git?nope=1 /b", "unexpected query"),
        ("ADD --keep-git-dir https://x.org/a.git?keep-git-dir=0 /b", "inconsistent keep-git-dir"),
        ("ADD --checksum=a https://x.org/a.git?checksum=b /b", "checksum mismatch"),
        ("RUN --mount=target=/ x", 'invalid mount target "/"'),
        ("RUN --mount=type=bind x", "invalid mount target"),
        ("RUN --mount=from=$A,target=/a x", "doesn't support variable expansion"),
        ("RUN --security=insecure x", "security.insecure is not allowed"),
        ("RUN --network=host x", "network.host is not allowed"),
        ("EXPOSE 99999", "invalid containerPort"),
        ("WORKDIR ${X", "missing '}'"),
        ("USER ${X:?no user}", "no user"),
        ("ENV A=${}", "bad substitution"),
    ],
)
def test_refuses(text, message):
    error = refused(f"FROM debian\nARG M=77777\n{text}\n")
    assert message in error.message
    assert error.span is not None
    assert error.span.line == 3


def test_entitled_steps():
    allow = frozenset({"security.insecure", "network.host"})
    op = run("FROM debian\nRUN --security=insecure --network=host x\n", allow=allow)
    assert (op.security, op.network) == (SecurityMode.INSECURE, NetworkMode.HOST)


def test_root_mount():
    root = mounts("FROM debian\nRUN x\n")["/"]
    assert (root.input, root.output, root.type, root.readonly) == (0, 0, MountType.BIND, False)
    assert mounts("FROM scratch\nRUN x\n")["/"].input == -1


def test_environment_of_a_step():
    text = "FROM debian\nARG A=1\nENV B=2 A=3\nARG B=4\nARG UNSET\nRUN x\n"
    env = run(text).meta.env
    assert env[1:] == ("A=3", "B=4")


def test_scan_arguments_stay_out_of_steps():
    text = "FROM debian\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN x\n"
    assert len(run(text).meta.env) == 1
    assert history(compiled(text))[0] == "- ARG BUILDKIT_SBOM_SCAN_STAGE=true"


def test_user_and_directory_of_a_step():
    images = Images(based=image(user="7", working_dir="rel"))
    meta = run("FROM based\nRUN x\n", images).meta
    assert (meta.user, meta.cwd) == ("7", "/rel")


def test_build_arguments_that_are_options():
    given = {"BUILDKIT_SANDBOX_HOSTNAME": "box", "BUILDKIT_CACHE_MOUNT_NS": "ns"}
    op = run("FROM debian\nRUN --mount=type=cache,target=/c x\n", build_args=given)
    assert op.meta.hostname == "box"
    assert [mount.id for mount in op.mounts if mount.dest == "/c"] == ["ns//c"]


def test_mounts_are_sorted_and_inputs_numbered_once():
    text = (
        "FROM debian AS a\nRUN y\nFROM debian\n"
        "RUN --mount=target=/z,from=a --mount=target=/b,from=a,source=s --mount=target=/m x\n"
    )
    result = compiled(text)
    found = {mount.dest: mount.input for mount in last_op(result).mounts}
    assert list(found) == ["/", "/b", "/m", "/z"]
    assert found["/b"] == found["/z"] == 1
    assert found["/m"] == 2
    assert result.locals == {"context": ()}


def test_a_step_that_mounts_its_own_root():
    text = "FROM debian AS a\nRUN y\nFROM a\nRUN --mount=target=/a,from=a x\n"
    assert {mount.dest: mount.input for mount in run(text).mounts} == {"/": 0, "/a": 0}


def test_secret_targets():
    text = "FROM debian\nRUN --mount=type=secret,id=a/b --mount=type=secret,target=/x/c x\n"
    found = mounts(text)
    assert (found["/run/secrets/b"].id, found["/x/c"].id) == ("a/b", "c")
    assert found["/run/secrets/b"].mode == 0o400


def test_secret_as_environment_has_no_file_unless_asked():
    text = "FROM debian\nRUN --mount=type=secret,id=t,env=T,required {}x\n"
    assert list(mounts(text.format(""))) == ["/"]
    both = "FROM debian\nRUN --mount=type=secret,id=t,env=T,target=/t x\n"
    assert list(mounts(both)) == ["/", "/t"]
    assert run(text.format("")).secret_env[0].optional is False


def test_agent_socket_is_in_the_environment():
    op = run("FROM debian\nRUN --mount=type=ssh x\n")
    assert "SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0" in op.meta.env
    own = run("FROM debian\nENV SSH_AUTH_SOCK=/mine\nRUN --mount=type=ssh x\n")
    assert "SSH_AUTH_SOCK=/mine" in own.meta.env


def test_secret_values_are_not_in_the_name():
    text = 'FROM debian\nENV T=old\nRUN --mount=type=secret,id=t,env=T use "$T"\n'
    assert names(compiled(text))[-1].endswith('use "****"')


def test_mount_values_expand_and_types_too():
    text = "FROM debian\nARG T=cache D=/d\nRUN --mount=type=$T,target=$D x\n"
    assert mounts(text)["/d"].type is MountType.CACHE


def test_heredoc_that_is_a_program():
    text = "FROM debian\nRUN <<EOF\n#!/bin/cat\nx\nEOF\n"
    files = [
        action.action
        for vertex in vertices(compiled(text))
        if vertex.name == "[internal] preparing inline document"
        for action in vertex.op.actions
    ]
    assert files == [MkFileAction(path="/EOF", mode=0o755, data=b"#!/bin/cat\nx\n")]
    assert run(text).meta.args == ("/bin/sh", "-c", "/dev/pipes/EOF")


def test_copy_flags_on_the_action():
    action = copy("FROM debian\nWORKDIR /w\nCOPY --exclude=*.o --chmod=g=u --chown=a:1 s d/\n")
    assert action.dest == "/w/d/"
    assert action.exclude_patterns == ("*.o",)
    assert (action.mode, action.mode_str) == (-1, "g=u")
    assert action.owner == Owner(user=User(name="a", input=0), group=User(id=1))
    assert action.follow_symlink
    assert action.dir_copy_contents
    assert action.allow_wildcard
    assert action.create_dest_path
    assert not action.attempt_unpack


def test_root_needs_no_looking_up():
    assert copy("FROM scratch\nCOPY --chown=root:5 a /a\n").owner == Owner(
        user=User(id=0), group=User(id=5)
    )
    assert copy("FROM scratch\nCOPY --chown=4294967296 a /a\n").owner == Owner(
        user=User(name="4294967296")
    )


def test_add_unpacks_local_files_only():
    assert copy("FROM debian\nADD a /\n").attempt_unpack
    assert not copy("FROM debian\nADD --unpack=false a /\n").attempt_unpack
    assert not copy("FROM debian\nADD https://x.org/a.tar /\n").attempt_unpack
    assert copy("FROM debian\nADD --unpack https://x.org/a.tar /\n").attempt_unpack


def test_git_options():
    text = "FROM debian\nADD --keep-git-dir --checksum=abc https://x.org/a.git#v1:sub /\n"
    ops = [vertex.op for vertex in vertices(compiled(text)) if isinstance(vertex.op, SourceOp)]
    assert ops[-1].identifier == "git://x.org/a.git#v1:sub"
    assert dict(ops[-1].attrs)["git.keepgitdir"] == "true"
    assert dict(ops[-1].attrs)["git.checksum"] == "abc"


def test_copy_sources_from_escape_nothing():
    assert copy("FROM debian\nCOPY ../../a/../b /\n").src == "/b"


def test_linked_copy_does_not_depend_on_its_base():
    first = compiled("FROM debian\nRUN a\nCOPY --link x /x\n")
    second = compiled("FROM debian\nRUN b\nCOPY --link x /x\n")
    assert isinstance(last_op(first), MergeOp)
    assert first.head.vertex.inputs[1] == second.head.vertex.inputs[1]
    assert first.head.vertex.inputs[0] != second.head.vertex.inputs[0]


def test_no_cache_leaves_directories_and_images_alone():
    result = compiled("FROM debian\nWORKDIR /w\nCOPY a b\nRUN x\n", no_cache=frozenset())
    ignored = [vertex.name for vertex in vertices(result) if vertex.options.ignore_cache]
    assert ignored == ["[3/4] COPY a b", "[4/4] RUN x"]


def test_steps_carry_their_place_and_text():
    vertex = compiled("FROM debian\n\nRUN a \\\n  b\n").head.vertex
    assert vertex.options.command == "RUN a   b"
    assert (vertex.options.spans[0].line, vertex.options.spans[0].end_line) == (3, 4)


def test_directories_are_stamped_with_the_epoch():
    action = last_op(compiled("FROM debian\nWORKDIR /w\n", epoch=5)).actions[0].action
    assert isinstance(action, MkDirAction)
    assert action.timestamp == 5 * 10**9


@pytest.mark.parametrize(
    ("value", "epoch", "env"),
    [("7", 7, "SOURCE_DATE_EPOCH=7"), ("", None, None), ("context", None, None)],
)
def test_epoch_values(value, epoch, env):
    text = "FROM debian\nARG SOURCE_DATE_EPOCH\nRUN x\n"
    result = compiled(text, build_args={"SOURCE_DATE_EPOCH": value})
    assert result.epoch == epoch
    found = [pair for pair in last_op(result).meta.env if pair.startswith("SOURCE_")]
    assert found == ([env] if env else [])


def test_epoch_of_a_global_argument():
    assert compiled("ARG SOURCE_DATE_EPOCH=9\nFROM debian\n").epoch == 9


def test_epoch_of_a_stage_is_asked_for():
    asked = []

    def time_of(source):
        asked.append(source.identifier)
        return 11

    text = (
        "ARG V=1\nFROM scratch AS stamp\nARG W=2\nADD https://x.org/$V/$W.tar /\n"
        "FROM debian\nARG SOURCE_DATE_EPOCH\nRUN x\n"
    )
    result = compiled(text, build_args={"SOURCE_DATE_EPOCH": "stamp"}, source_time=time_of)
    assert (result.epoch, asked) == (11, ["https://x.org/1/2.tar"])
    assert "SOURCE_DATE_EPOCH=11" in last_op(result).meta.env


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("FROM debian AS s", "must use FROM scratch"),
        ("FROM scratch AS s", "exactly one remote ADD"),
        ("FROM scratch AS s\nADD a /", "single HTTP(S) or Git ADD"),
        ("FROM scratch AS s\nADD https://x/a https://x/b /", "exactly one remote ADD source"),
        ("FROM scratch AS s\nCOPY a /", "unsupported copy instruction"),
        ("FROM scratch AS other", "invalid SOURCE_DATE_EPOCH: s"),
    ],
)
def test_wrong_epoch_stages(stage, message):
    error = refused(f"{stage}\nFROM debian\n", build_args={"SOURCE_DATE_EPOCH": "s"})
    assert message in error.message


def test_epoch_of_a_source_needs_someone_who_knows():
    with pytest.raises(NotSupportedYetError, match="not supported yet"):
        compiled(
            "FROM debian\n",
            build_args={"SOURCE_DATE_EPOCH": "context"},
            context="https://x.org/a.git",
        )


def findings(text, **options):
    return [(f.rule, f.message, f.span.line) for f in compiled(text, **options).warnings]


def test_undefined_variables_are_noted():
    text = "FROM debian\nARG VERSION UNSET\nENV A=$VERSOIN\nCOPY $UNSET$DIRECTORY /\nRUN echo $C\n"
    usage = "Usage of undefined variable"
    assert findings(text, build_args={"VERSION": "1"}) == [
        ("UndefinedVar", f"{usage} '$VERSOIN' (did you mean $VERSION?)", 3),
        ("UndefinedVar", f"{usage} '$DIRECTORY'", 4),
    ]


def test_heredoc_bodies_are_looked_at_too():
    assert [line for _, _, line in findings("FROM debian\nCOPY <<E /a\n$X\nE\n")] == [2]
    assert findings("FROM debian\nCOPY <<'E' /a\n$X\nE\n") == []


def test_a_foreign_base_image_is_noted():
    images = Images(debian=image(architecture="arm64"))
    [found] = compiled("FROM debian\n", images).warnings
    assert found.rule == "InvalidBaseImagePlatform"
    assert found.message == (
        'Base image debian was pulled with platform "linux/arm64", expected "linux/amd64" for'
        " current build"
    )

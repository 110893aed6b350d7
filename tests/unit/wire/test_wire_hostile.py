"""Definitions that no honest frontend writes: each is refused with its reason, nothing panics."""

import random

import pytest

from lazybuild.errors import LazybuildError
from lazybuild.wire.buildkit_frontend_protos import ops_pb2 as pb
from lazybuild.wire.decode import HostileGraphError, decode, decode_bytes
from lazybuild.wire.marshal import digest_of, op_bytes


def definition(*ops, index=0):
    """The ops, and a terminal one for the last."""
    data = [op_bytes(op) for op in ops]
    end = pb.Op(inputs=[pb.Input(digest=digest_of(data[-1]), index=index)])
    return pb.Definition(ops=[*data, op_bytes(end)])


def base():
    return pb.Op(source=pb.SourceOp(identifier="docker-image://x"))


def above(op, *, index=0):
    """`op` over the base."""
    op.inputs.add(digest=digest_of(op_bytes(base())), index=index)
    return definition(base(), op)


def step(**fields):
    """A step that is right but for `fields`."""
    exec_op = pb.ExecOp(
        meta=pb.Meta(args=["true"], cwd="/"), mounts=[pb.Mount(dest="/", input=0, output=0)]
    )
    exec_op.MergeFrom(pb.ExecOp(**fields))
    return pb.Op(exec=exec_op)


def files(action, **around):
    return pb.Op(file=pb.FileOp(actions=[pb.FileAction(**action, **around)]))


def copy(**fields):
    return files({"copy": pb.FileActionCopy(**({"mode": -1, "timestamp": -1} | fields))})


def cyclic():
    """Two ops that name each other can't be made with real digests; one names what isn't there."""
    return above(pb.Op(merge=pb.MergeOp(), inputs=[pb.Input(digest="sha256:" + "0" * 64)]))


REFUSED = {
    "unknown network": (above(step(network=7)), "network mode"),
    "unknown security": (above(step(security=2)), "security mode"),
    "unknown mount type": (above(step(mounts=[pb.Mount(dest="/m", mountType=9)])), "type of mount"),
    "unknown sharing": (
        above(step(mounts=[pb.Mount(dest="/m", output=-1, cacheOpt=pb.CacheOpt(sharing=9))])),
        "way of sharing",
    ),
    "two roots": (above(step(mounts=[pb.Mount(dest="/", output=-1)])), "exactly one root"),
    "mount upwards": (
        above(step(mounts=[pb.Mount(dest="/a/../..", output=-1)])),
        "goes upwards",
    ),
    "selector upwards": (
        above(step(mounts=[pb.Mount(dest="/a", selector="../etc", output=-1)])),
        "goes upwards",
    ),
    "input that is not there": (
        above(step(mounts=[pb.Mount(dest="/a", input=1, output=-1)])),
        "no input 1",
    ),
    "negative input": (
        above(step(mounts=[pb.Mount(dest="/a", input=-2, output=-1)])),
        "no input -2",
    ),
    "huge output": (above(step(mounts=[pb.Mount(dest="/a", output=2**40)])), "gaps"),
    "negative output": (above(step(mounts=[pb.Mount(dest="/a", output=-2)])), "no output -2"),
    "negative tmpfs": (
        above(step(mounts=[pb.Mount(dest="/a", output=-1, tmpfsOpt=pb.TmpfsOpt(size=-1))])),
        "negative",
    ),
    "cwd upwards": (above(step(meta=pb.Meta(cwd="/../x"))), "goes upwards"),
    "relative cwd": (above(step(meta=pb.Meta(cwd="x"))), "not absolute"),
    "NUL in an argument": (above(step(meta=pb.Meta(args=["a\0b"]))), "NUL"),
    "no variable": (above(step(meta=pb.Meta(env=["=x"]))), "no variable"),
    "no command": (
        above(pb.Op(exec=pb.ExecOp(mounts=[pb.Mount(dest="/", output=0)]))),
        "no command",
    ),
    "copy from above": (above(copy(src="/../../etc/shadow")), "goes upwards"),
    "copy to above": (above(copy(dest="/x/../../../etc")), "goes upwards"),
    "pattern upwards": (above(copy(include_patterns=["../*"])), "goes upwards"),
    "mode": (above(copy(mode=0o200000)), "no mode"),
    "negative mode": (above(copy(mode=-2)), "no mode"),
    "time": (above(copy(timestamp=-2)), "no time"),
    "owner from nowhere": (
        above(
            copy(owner=pb.ChownOpt(user=pb.UserOpt(byName=pb.NamedUserOpt(name="root", input=3))))
        ),
        "no input 3",
    ),
    "rm upwards": (above(files({"rm": pb.FileActionRm(path="/..")})), "goes upwards"),
    "mkdir upwards": (above(files({"mkdir": pb.FileActionMkDir(path="a/..")})), "goes upwards"),
    "symlink upwards": (
        above(files({"symlink": pb.FileActionSymlink(newpath="/../l")})),
        "goes upwards",
    ),
    "an action of its own result": (
        above(files({"rm": pb.FileActionRm(path="/x")}, input=1)),
        "no input 1",
    ),
    "no result": (
        above(files({"rm": pb.FileActionRm(path="/x")}, output=-1)),
        "no result",
    ),
    "no action": (above(files({})), "unknown file action"),
    "no actions": (above(pb.Op(file=pb.FileOp())), "no or too many actions"),
    "a build in a build": (above(pb.Op(build=pb.BuildOp())), "of the kind build"),
    "passthrough": (above(pb.Op(passthrough=pb.PassthroughOp())), "of the kind passthrough"),
    "nothing in the middle": (above(pb.Op()), "of the kind nothing"),
    "source with inputs": (above(base()), "has no inputs"),
    "source without a scheme": (
        definition(pb.Op(source=pb.SourceOp(identifier="/etc/passwd"))),
        "not a source",
    ),
    "merge of others": (
        above(pb.Op(merge=pb.MergeOp(inputs=[pb.MergeInput(input=4)]))),
        "each of its inputs",
    ),
    "diff of others": (
        above(pb.Op(diff=pb.DiffOp(upper=pb.UpperDiffInput(input=4)))),
        "no input 4",
    ),
    "an output that is not there": (definition(base(), index=1), "no output 1"),
    "a negative output": (definition(base(), index=-1), "no output -1"),
    "an output between": (above(step(), index=3), "no output 3"),
    "an op that is not there": (cyclic(), "not in the definition"),
    "no terminal op": (pb.Definition(ops=[op_bytes(base())]), "terminal"),
    "garbage": (pb.Definition(ops=[b"\xff\xff\xff"]), "not protobuf"),
    "worker constraints": (
        above(
            pb.Op(merge=pb.MergeOp(), constraints=pb.WorkerConstraints(filter=["id==x"])),
        ),
        "constraints",
    ),
    "platform with a slash": (
        definition(
            pb.Op(
                source=pb.SourceOp(identifier="docker-image://x"),
                platform=pb.Platform(OS="../linux", Architecture="amd64"),
            )
        ),
        "slash",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_its_reason(case):
    message, reason = REFUSED[case]
    with pytest.raises(HostileGraphError, match=reason):
        decode(message)


def test_what_is_right_is_taken():
    """The cases above fail for the reason that they name."""
    assert decode(above(step())) is not None
    assert decode(above(copy(src="/a", dest="/b"))) is not None
    assert decode(definition(base())) is not None


def test_too_many_ops_are_refused_before_they_are_read():
    with pytest.raises(HostileGraphError, match="more than"):
        decode(pb.Definition(ops=[b"\xff"] * 70_000))


def test_broken_bytes_are_refused_or_read_and_nothing_else():
    whole = above(step()).SerializeToString()
    choose = random.Random(5)
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(choose.randint(1, 4)):
            data[choose.randrange(len(data))] = choose.randrange(256)
        try:
            decode_bytes(bytes(data))
        except LazybuildError:
            continue


def test_garbage_is_refused():
    with pytest.raises(HostileGraphError, match="not protobuf"):
        decode_bytes(b"\xff" * 20)


def test_the_output_of_a_secret_says_nothing():
    """Go's client leaves it at 0, which is the root's."""
    secret = pb.Mount(dest="/s", input=-1, mountType=pb.SECRET, secretOpt=pb.SecretOpt(ID="s"))
    head = decode(above(step(mounts=[secret])))
    assert [mount.output for mount in head.vertex.op.mounts] == [0, -1]

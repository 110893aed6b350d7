"""Access profiles as values: what is taken from a hostile one, how records replace each other."""

import json

import pytest

from lazybuild.build import profile
from lazybuild.build.profile import Profile, StepReads
from lazybuild.errors import IntegrityError
from lazybuild.llb.graph import Edge, Vertex
from lazybuild.llb.ops import ExecOp, Meta, Mount, SourceOp

A, B, C = (letter * 64 for letter in "abc")
LAYER = f"sha256:{A}"


def reads(key=A, chunks=(B,)):
    return StepReads(keys=(key,), layers={LAYER: tuple(chunks)})


def step(command, under=None, base="docker-image://docker.io/library/x:1@sha256:" + A):
    below = under or Vertex(op=SourceOp(identifier=base))
    op = ExecOp(
        meta=Meta(args=("sh", "-c", command), cwd="/"), mounts=(Mount(input=0, dest="/", output=0),)
    )
    return Vertex(op=op, inputs=(Edge(below),))


def test_what_is_encoded_is_parsed_again():
    made = Profile(steps=(reads(), reads(B, (A, C))))
    assert profile.parse(profile.encode(made)) == made


@pytest.mark.parametrize(
    "value",
    [
        {"version": 2, "steps": []},
        {"version": 1, "steps": [{"keys": ["../x"], "layers": {}}]},
        {"version": 1, "steps": [{"keys": [A], "layers": {"sha256:../../x": [B]}}]},
        {"version": 1, "steps": [{"keys": [A], "layers": {LAYER: ["../../etc/passwd"]}}]},
        {"version": 1, "steps": [{"keys": [A], "layers": {LAYER: [B + "\n"]}}]},
        {"version": 1, "steps": [{"keys": [A], "layers": {LAYER: [B] * 32_769}}]},
        {"version": 1, "steps": [{"keys": [A], "layers": {}}] * 65},
        {"version": 1, "steps": {"a": 1}},
        [],
    ],
)
def test_a_profile_that_no_honest_writer_makes_is_refused(value):
    with pytest.raises(IntegrityError):
        profile.parse(json.dumps(value).encode())


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b"{}" * 5_000_000])
def test_what_is_no_profile_is_refused(data):
    with pytest.raises(IntegrityError):
        profile.parse(data)


def test_a_new_record_replaces_the_old_one_of_the_same_step_and_comes_first():
    known = Profile(steps=(reads(A), reads(B)))
    assert known.updated([reads(B, (C,))]).steps == (reads(B, (C,)), reads(A))


def test_a_profile_does_not_grow_without_bound():
    known = Profile()
    for number in range(100):
        known = known.updated([reads(f"{number:064x}")])
    assert len(known.steps) == profile.MAX_STEPS
    assert known.find([f"{99:064x}"])
    big = tuple(f"{number:064x}" for number in range(profile.MAX_CHUNKS))
    assert len(known.updated([reads(A, big)]).steps) == 1


def test_the_first_key_that_is_known_counts():
    known = Profile(steps=(reads(A), reads(B)))
    assert known.find([C, B]) == reads(B)
    assert known.find([C]) is None


def test_a_step_is_found_by_its_definition_and_by_its_command_over_its_base():
    plain, again, after = step("make"), step("make"), step("make", under=step("other"))
    assert profile.keys_of(plain) == profile.keys_of(again)
    assert profile.keys_of(plain)[0] != profile.keys_of(after)[0]
    assert profile.keys_of(plain)[1] == profile.keys_of(after)[1]
    assert set(profile.keys_of(plain)).isdisjoint(profile.keys_of(step("make all")))


def test_a_step_over_no_image_has_no_key():
    assert profile.keys_of(step("make", base="local://context")) == ()

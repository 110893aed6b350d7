"""Attacks of steps and of images once more, where steps have a chroot and no namespace (T6)."""

import pytest
import test_security_steps
from support.building import settling_builder
from test_security_builds import (  # noqa: F401 - pytest collects them here too
    test_a_base_whose_own_mount_points_are_hostile,
    test_a_base_with_something_else_for_a_directory_of_the_kernel,
    test_a_bind_whose_source_is_a_link_stays_in_its_stage,
    test_a_null_device_that_an_image_brings_is_not_the_one_of_steps,
    test_a_secret_is_nowhere_afterwards,
    test_a_step_sees_nothing_of_the_builder,
    test_cleaning_up_mount_points_follows_no_link_of_the_step,
    test_targets_through_links_stay_in_the_image,
)

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("canary")]
ATTACKED = test_security_steps.test_a_step_can_hurt_only_itself
(ATTACKS,) = [mark.args[1] for mark in ATTACKED.pytestmark if mark.name == "parametrize"]


@pytest.fixture
def builder(folder):
    with settling_builder(folder, place="docker") as builder:
        yield builder


def test_steps_can_hurt_only_themselves(builder, base):
    outside = str(builder.folder / "outside")
    attacks = [attack.replace("{outside}", outside) for attack in ATTACKS]
    text = "".join(f"RUN ({attack}); true\n" for attack in attacks)
    run = builder.build({"Dockerfile": f"FROM {base}\n{text}RUN echo ok > /ok\n"}, "-t", "x")
    assert "do not read" not in run.err
    assert run.stats["tier"] == "T6"


def test_what_a_step_writes_where_proc_would_be_is_in_no_layer(builder, base, tmp_path):
    text = f"FROM {base}\nRUN echo b > /proc/sysrq-trigger; rm -rf /sys; echo {{}} > /dev/x; true\n"
    out = builder.folder / "out"
    builder.build({"Dockerfile": text}, "-o", out)
    assert [list((out / name).iterdir()) for name in ("proc", "sys", "dev")] == [[], [], []]

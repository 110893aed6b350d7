import errno

import pytest

from lazybuild.executor import causes


class Proc:
    def __init__(self, root):
        self.root = root
        (root / "self").mkdir()
        (root / "self/status").write_text("Name:\tx\nSeccomp:\t0\n")

    def sysctl(self, name, value):
        path = self.root / "sys" / name.replace(".", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")


@pytest.mark.parametrize(
    ("sysctl", "number", "message", "hint"),
    [
        (("user.max_user_namespaces", "0"), errno.ENOSPC, "is 0", "max_user_namespaces="),
        (("user.max_user_namespaces", "9"), errno.ENOSPC, "too many", "max_user_namespaces"),
        (("kernel.unprivileged_userns_clone", "0"), errno.EPERM, "is 0", "userns_clone=1"),
        (
            ("kernel.apparmor_restrict_unprivileged_userns", "1"),
            errno.EACCES,
            "AppArmor",
            "userns,",
        ),
        (("user.max_user_namespaces", "9"), errno.EINVAL, "CONFIG_USER_NS", "5.13"),
        (("user.max_user_namespaces", "9"), errno.EPERM, "does not let", "CAP_SYS_ADMIN"),
    ],
)
def test_each_cause_is_named_with_its_remedy(tmp_path, sysctl, number, message, hint):
    proc = Proc(tmp_path)
    proc.sysctl(*sysctl)
    error = causes.userns_error("unshare", number, tmp_path)
    assert message in error.message
    assert "unshare" in error.message
    assert hint in error.hint


def test_a_container_with_a_filter_is_named(tmp_path):
    Proc(tmp_path)
    (tmp_path / "self/status").write_text("Name:\tx\nSeccomp:\t2\n")
    error = causes.userns_error("unshare", errno.EPERM, tmp_path)
    assert "seccomp" in error.message
    assert "seccomp=unconfined" in error.hint
    assert "contrib/seccomp-lazybuild.json" in error.hint
    assert "hostUsers: false" in error.hint


def test_the_apparmor_profile_of_a_container_is_named(tmp_path):
    Proc(tmp_path)
    (tmp_path / "self/attr").mkdir()
    label = tmp_path / "self/attr/current"
    label.write_text("docker-default (enforce)\n")
    error = causes.userns_error("mount", errno.EACCES, tmp_path)
    assert "docker-default" in error.message
    assert "apparmor=unconfined" in error.hint
    label.write_text("unconfined\n")
    assert "does not let" in causes.userns_error("mount", errno.EACCES, tmp_path).message


def test_an_unreadable_proc_is_no_cause(tmp_path):
    assert "does not let" in causes.userns_error("unshare", errno.EPERM, tmp_path).message

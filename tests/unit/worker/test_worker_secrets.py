"""Secrets of a request: whole, or an error."""

import pytest

from lazybuild.errors import BuildError
from lazybuild.request import BuildRequest, Secret
from lazybuild.worker.secrets import MAX_SECRET, given, of_request


def asking(tmp_path, *secrets):
    return of_request(BuildRequest(root=tmp_path, secrets=secrets))


def test_a_secret_is_never_cut_short(tmp_path):
    (tmp_path / "most").write_bytes(b"x" * MAX_SECRET)
    (tmp_path / "more").write_bytes(b"x" * (MAX_SECRET + 1))
    ask = asking(
        tmp_path,
        Secret(id="most", file=str(tmp_path / "most")),
        Secret(id="more", file=str(tmp_path / "more")),
    )
    assert ask("most") == b"x" * MAX_SECRET
    with pytest.raises(BuildError, match="more than 500 KiB"):
        ask("more")


def test_what_is_not_there_is_none_for_who_can_do_without_and_an_error_for_others(
    tmp_path, monkeypatch
):
    secret = Secret(id="token", env="TOKEN_OF_NOBODY")
    ask = asking(tmp_path, secret)
    assert (ask("other"), ask("token")) == (None, None)
    with pytest.raises(BuildError, match="TOKEN_OF_NOBODY is not set"):
        given(secret)
    monkeypatch.setenv("TOKEN_OF_NOBODY", "word")
    assert ask("token") == given(secret) == b"word"


def test_a_file_that_can_not_be_read_is_named(tmp_path):
    with pytest.raises(BuildError, match="none: No such file"):
        given(Secret(id="s", file=str(tmp_path / "none")))

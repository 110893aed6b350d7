"""Git URLs as builds write them: `https://host/path.git#ref:subdir`, `git@host:path`, or with
query keys instead of a fragment. Pure; nothing is contacted.

A http(s) URL is a git URL only when its path ends in `.git`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

from lazybuild.dockerfile import paths

_SCHEMES = frozenset({"http", "https", "ssh", "git"})
_SCHEME = re.compile(r"([a-zA-Z0-9]+)://")
_SCP = re.compile(r"([\w-]+)@([a-zA-Z0-9.-]+):([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.ASCII)
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_SWITCHES = frozenset({"submodules", "keep-git-dir", "fetch-by-commit"})
_TEXTS = frozenset({"ref", "tag", "branch", "subdir", "checksum", "commit", "mtime"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    scheme: str
    remote: str
    host: str
    path: str
    query: str = ""
    fragment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitUrl:
    """What to clone and what to take of it. `remote` is for the git program."""

    scheme: str
    remote: str
    host: str
    path: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    mtime: str = ""
    fetch_by_commit: bool = False

    def attrs(self) -> dict[str, str]:
        """The attributes of a git source."""
        found = {
            "git.fullurl": self.remote,
            "git.authheadersecret": "GIT_AUTH_HEADER",
            "git.authtokensecret": "GIT_AUTH_TOKEN",
            "git.keepgitdir": "true" if self.keep_git_dir else "",
            "git.checksum": self.checksum,
            "git.skipsubmodules": "true" if self.submodules is False else "",
            "git.mtime": self.mtime,
            "git.fetchbycommit": "true" if self.fetch_by_commit else "",
            "git.mountsshsock": "default" if self.scheme == "ssh" else "",
        }
        return {name: value for name, value in found.items() if value}

    @property
    def identifier(self) -> str:
        """The same for every protocol over which the repository can be had."""
        subdir = f":{self.subdir}" if self.subdir else ""
        fragment = f"#{self.ref}{subdir}" if self.ref or subdir else ""
        return f"git://{self.host}{paths.inside(self.path)}{fragment}"


def parse_git(text: str) -> GitUrl | None:
    """The git URL that `text` is, or None. Raises ValueError when it is one and is wrong."""
    return _parse(_split(text))


def parse_git_context(text: str) -> GitUrl | None:
    """The same for a build context, which may also be written `github.com/owner/name`."""
    if text.startswith("github.com/"):
        return _parse(_of_url(f"https://{text}", suffix=""))
    return parse_git(text)


def _parse(parts: _Parts | None) -> GitUrl | None:
    if parts is None:
        return None
    ref, _, subdir = parts.fragment.partition(":")
    url = GitUrl(
        scheme=parts.scheme,
        remote=parts.remote,
        host=parts.host,
        path=parts.path,
        ref=ref,
        subdir=paths.inside(subdir).lstrip("/"),
    )
    return _with_query(url, _query(parts.query))


def _split(text: str) -> _Parts | None:
    if match := _SCP.fullmatch(text):
        user, host, path, query, fragment = match.groups(default="")
        return _Parts(
            scheme="ssh",
            remote=f"{user}@{host}:{path}",
            host=host,
            path=path,
            query=query,
            fragment=fragment,
        )
    match = _SCHEME.match(text)
    if match is None or match[1].lower() not in _SCHEMES:
        return None
    return _of_url(text)


def _of_url(text: str, *, suffix: str = ".git") -> _Parts | None:
    try:
        url = urlsplit(text)
    except ValueError:
        return None
    if url.scheme in {"http", "https"} and not url.path.endswith(suffix):
        return None
    return _Parts(
        scheme=url.scheme,
        remote=url._replace(query="", fragment="").geturl(),
        host=url.netloc.rpartition("@")[2],
        path=url.path,
        query=url.query,
        fragment=url.fragment,
    )


def _query(text: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for key, values in parse_qs(text, keep_blank_values=True).items():
        if key not in _SWITCHES | _TEXTS:
            raise ValueError(f'unexpected query "{key}"')
        if len(values) > 1:
            raise ValueError(f'query "{key}" has multiple values')
        if not values[0] and key not in _SWITCHES:
            raise ValueError(f'query "{key}" has no value')
        found[key] = values[0]
    return found


def _with_query(url: GitUrl, query: Mapping[str, str]) -> GitUrl:
    if not query:
        return url
    if query.get("mtime", "commit") not in {"checkout", "commit"}:
        raise ValueError(f'invalid mtime value: "{query["mtime"]}"')
    return replace(
        url,
        ref=_ref(url.ref, query),
        subdir=_one("subdir", url.subdir, query.get("subdir", "")),
        checksum=query.get("checksum", query.get("commit", "")),
        keep_git_dir=_switch("keep-git-dir", query),
        submodules=_switch("submodules", query),
        mtime=query.get("mtime", ""),
        fetch_by_commit=bool(_switch("fetch-by-commit", query)),
    )


def _ref(ref: str, query: Mapping[str, str]) -> str:
    if "tag" in query and "branch" in query:
        raise ValueError("branch conflicts with tag")
    ref = _one("ref", ref, query.get("ref", ""))
    for key, prefix in (("tag", "refs/tags/"), ("branch", "refs/heads/")):
        if key in query:
            ref = _one("ref", ref, prefix + query[key].removeprefix(prefix))
    return ref


def _one(name: str, first: str, second: str) -> str:
    if first and second and first != second:
        raise ValueError(f'{name} conflicts: "{first}" vs "{second}"')
    return first or second


def _switch(key: str, query: Mapping[str, str]) -> bool | None:
    value = query.get(key)
    if value is None:
        return None
    if value and value not in _TRUE | _FALSE:
        raise ValueError(f'invalid {key} value: "{value}"')
    return not value or value in _TRUE

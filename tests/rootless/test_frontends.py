"""Builds by a frontend image: ours gives what the built-in compiler does, others what they like."""

import subprocess

import pytest
from support.building import Builder, registry_with_base, settled
from support.frontends import push_frontends

pytestmark = pytest.mark.rootless

EPOCH = ("--source-date-epoch", "1700000000")


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frontends")
    with registry_with_base(folder) as registry:
        push_frontends(Builder(folder / "frontend-builder"), registry.host)
        yield registry
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=False)


@pytest.fixture
def base(registry):
    return f"{registry.host}/base:1"


@pytest.fixture
def own(registry):
    return ("--frontend", f"{registry.host}/own:1")


@pytest.fixture
def builder(tmp_path):
    builder = Builder(tmp_path)
    yield builder
    assert settled(builder.leftovers) == []
    subprocess.run(["chmod", "-R", "u+rwX", tmp_path], check=False)


@pytest.fixture
def other(tmp_path):
    yield Builder(tmp_path / "other")
    subprocess.run(["chmod", "-R", "u+rwX", tmp_path], check=False)


def project(base):
    return {
        "Dockerfile": f"""\
FROM {base} AS made
ARG WHO=nobody
WORKDIR /build
COPY --chmod=750 src .
RUN --mount=type=cache,target=/cache --mount=type=bind,source=src,target=/src \\
    cat /src/a.txt a.txt > both && echo $WHO > who
COPY --from=data . /data/
RUN <<EOT
echo from a heredoc > /build/heredoc
EOT

FROM scratch
COPY --link --from=made /build /made
COPY <<X /x
inline $WHO
X
COPY . /context/
LABEL a=b
ENTRYPOINT ["/made/a.txt"]
CMD ["c"]
""",
        "src/a.txt": "source\n",
        ".dockerignore": "secret\nDockerfile\n",
        "secret": "not for images\n",
        "more/data.txt": "data\n",
    }


def test_our_frontend_image_gives_the_digest_that_the_built_in_compiler_gives(
    builder, other, base, own
):
    context = builder.context(project(base))
    flags = [*EPOCH, "--build-arg", "WHO=me", "--label", "c=d", "--build-context"]
    flags += [f"data={context}/more"]
    native = builder.build(context, "-t", "x", *flags)
    bridged = other.build(context, "-t", "x", *flags, *own)
    assert bridged.digest == native.digest
    assert "[internal] run frontend" in bridged.err
    assert "RUN --mount=type=cache" in bridged.err
    again = other.build(context, "-t", "x", *flags, *own)
    assert again.digest == native.digest
    assert all(step["cached"] for step in again.stats["steps"] if "[made" in step["name"])

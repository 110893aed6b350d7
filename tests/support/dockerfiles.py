"""Compiling Dockerfiles in tests: images from a table, and graphs as readable text."""

import hashlib
from dataclasses import replace

from lazybuild.dockerfile.compile import compile as compile_document
from lazybuild.dockerfile.options import CompileOptions, ResolvedImage
from lazybuild.dockerfile.parse import parse
from lazybuild.errors import RegistryError
from lazybuild.llb.graph import walk
from lazybuild.llb.ops import Platform
from lazybuild.oci.digest import DiffID, Digest
from lazybuild.oci.image import ContainerConfig, History, ImageConfig

AMD64 = Platform(os="linux", architecture="amd64")
ARM64 = Platform(os="linux", architecture="arm64")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def digest_of(text):
    return Digest("sha256:" + hashlib.sha256(text.encode()).hexdigest())


def image(*, architecture="amd64", layers=1, **config):
    """The config of an image as a registry has it."""
    lines = tuple(History(created_by=f"layer {number}") for number in range(layers))
    return ImageConfig(
        created="2024-01-01T00:00:00Z",
        architecture=architecture,
        os="linux",
        config=ContainerConfig(**({"env": (PATH,)} | config)),
        diff_ids=tuple(DiffID(digest_of(f"diff {number}")) for number in range(layers)),
        history=lines,
    )


class Images:
    """A Resolver over a table; it remembers what it was asked for."""

    def __init__(self, **images):
        self.images = {"debian": image(cmd=("bash",))} | images
        self.asked = []

    def image(self, reference, platform):
        self.asked.append((reference, str(platform)))
        name = reference.partition("@")[0].removesuffix(":latest").rpartition("/")[2]
        if name not in self.images:
            raise RegistryError(f"{reference}: not found")
        config = self.images[name]
        if config.architecture == "any":
            config = replace(config, architecture=platform.architecture)
        return ResolvedImage(
            reference=reference, digest=digest_of(f"{name} {platform}"), config=config
        )


def compiled(text, images=None, **options):
    """The result of compiling a Dockerfile given as text."""
    document = parse(text.encode(), "Dockerfile")
    given = CompileOptions(**({"build_platform": AMD64} | options))
    return compile_document(document, given, images or Images())


def vertices(result):
    return [] if result.head is None else list(walk(result.head.vertex))


def names(result):
    """The steps, inputs first."""
    return [vertex.name for vertex in vertices(result)]


def last_op(result):
    return result.head.vertex.op


def history(result):
    """What was added to the base's history: text, and "-" in front of lines without a layer."""
    lines = result.config.history[result.base_history :]
    return [("- " if line.empty_layer else "") + line.created_by for line in lines]

"""What a build states of its image: where it comes from (SLSA 1.0) and what is in it (SPDX 2.3).

Values of build arguments, secrets and credentials are never stated, only that there were some.
Spec: slsa.dev/provenance/v1.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit, urlunsplit

from lazybuild import __version__
from lazybuild.build.finish import Built
from lazybuild.build.jobs import Part
from lazybuild.build.space import Space
from lazybuild.dockerfile.options import Compiled
from lazybuild.events import Sink, Warned
from lazybuild.exporters import attestation, packages, spdx
from lazybuild.exporters.attestation import Attestation, Predicate
from lazybuild.llb.graph import walk
from lazybuild.llb.ops import SourceOp
from lazybuild.oci import platform, reference
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import hex_part
from lazybuild.oci.reference import Reference
from lazybuild.request import BuildRequest
from lazybuild.snapshots.tree import Tree

PROVENANCE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:lazybuild:dockerfile:v1"
BUILDER = f"urn:lazybuild:{__version__}"
TOOL = f"lazybuild-{__version__}"


def attest(
    space: Space, request: BuildRequest, part: Part, built: Built, tree: Tree
) -> Attestation | None:
    """Its blobs are in the store. None when nothing was to be stated."""
    predicates = [*_predicates(space, request, part.compiled, tree), *part.stated]
    want = str(part.compiled.platform)
    return attached(space, request, built.descriptor, want, predicates)


def attached(
    space: Space,
    request: BuildRequest,
    image: Descriptor,
    want: str,
    predicates: Sequence[Predicate],
) -> Attestation | None:
    """As `attest`, with what was found already; `want` is the platform of the image."""
    if not predicates:
        return None
    names = [purl(reference.parse(tag), want) for tag in request.tags]
    made = attestation.attestation(image, names, predicates)
    for blob in (made.manifest, *(content for _, content in made.blobs)):
        space.store.blobs.put(blob)
    return made


def _predicates(
    space: Space, request: BuildRequest, compiled: Compiled, tree: Tree
) -> Iterator[Predicate]:
    if request.sbom:
        yield packages_of(request, space.sink, tree, compiled)
    if request.provenance:
        body = _provenance(request, compiled, _now(compiled.epoch))
        yield Predicate(type=PROVENANCE, body=body)


def packages_of(request: BuildRequest, sink: Sink, tree: Tree, compiled: Compiled) -> Predicate:
    """What is in the files of an image."""
    found = packages.inventory(tree)
    for path in found.unread:
        text = f"/{path}: packages of rpm are not read; the list of packages lacks them"
        sink(Warned(message=text))
    name = ", ".join(request.tags) or "image"
    body = spdx.document(found, name, created=_now(compiled.epoch), creator=TOOL)
    return Predicate(type=spdx.PREDICATE, body=body, file="sbom.spdx.json")


def _provenance(request: BuildRequest, compiled: Compiled, when: str) -> Mapping[str, object]:
    path = bare(request.dockerfile) if "://" in request.dockerfile else request.dockerfile
    external: dict[str, object] = {
        "configSource": {"path": path or "Dockerfile"},
        "target": compiled.stage,
        "platform": str(compiled.platform),
    }
    if "://" in request.context:
        external["configSource"] = {"uri": bare(request.context), "path": path}
    if request.provenance == "max":
        external["buildArguments"] = sorted(request.build_args)
        external["secrets"] = sorted(secret.id for secret in request.secrets)
        external["ssh"] = sorted(agent.id for agent in request.ssh)
        external["buildContexts"] = sorted(request.build_contexts)
        external["labels"] = sorted(request.labels)
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": external,
            "internalParameters": {"builderPlatform": str(platform.host())},
            "resolvedDependencies": list(_dependencies(compiled)),
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"lazybuild": __version__}},
            "metadata": {"finishedOn": when},
        },
    }


def _dependencies(compiled: Compiled) -> Iterator[Mapping[str, object]]:
    """What was fetched, with the digest that it is pinned to."""
    seen = set()
    for vertex in walk(compiled.head.vertex) if compiled.head else ():
        if isinstance(vertex.op, SourceOp) and vertex.op.identifier not in seen:
            seen.add(vertex.op.identifier)
            kind, _, rest = vertex.op.identifier.partition("://")
            if kind == "docker-image":
                yield _image(reference.parse(rest), str(vertex.platform or ""))
            elif kind != "local":
                yield {"uri": bare(vertex.op.identifier)}


def _image(ref: Reference, want: str) -> Mapping[str, object]:
    found: dict[str, object] = {"uri": purl(ref, want)}
    if ref.digest:
        found["digest"] = {"sha256": hex_part(ref.digest)}
    return found


def purl(ref: Reference, want: str) -> str:
    """`pkg:docker/debian@bookworm?platform=linux%2Famd64`, as BuildKit writes it."""
    name = Reference(registry=ref.registry, repository=ref.repository).familiar
    query = f"?platform={quote(want, safe='')}" if want else ""
    return f"pkg:docker/{name}@{ref.tag or 'latest'}{query}"


def bare(url: str) -> str:
    """A URL without user, password and query: any of these may be a secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", parts.fragment))


def _now(epoch: int | None) -> str:
    when = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(epoch, UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")

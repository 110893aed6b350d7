"""What this engine can do, in BuildKit's words: what is not offered here is refused. Pure.

The names are those of moby/buildkit solver/pb/caps.go and frontend/gateway/pb/caps.go.
"""

from lazybuild.llb.ops import Platform
from lazybuild.wire.gateway import Offer, WorkerInfo

LABEL = "org.mobyproject.buildkit.worker."
FRONTEND = (
    "solve.base", "gateway.solve.evaluate", "gateway.solve.metadata", "gateway.evaluate",
    "gateway.warnings",
    "resolveimage", "resolveimage.resolvemode", "source.metaresolver",
    "readfile", "readdir", "statfile",
    "return", "returnmap", "proto.refarray", "reference.output", "reference.attestations",
    "frontend.inputs", "frontend.caps",
)  # fmt: skip
LLB = (
    "source.image", "source.image.resolvemode",
    "source.local", "source.local.unique", "source.local.sessionid",
    "source.local.includepatterns", "source.local.excludepatterns", "source.local.followpaths",
    "source.local.sharedkeyhint", "source.local.differ",
    "source.git", "source.git.keepgitdir", "source.git.fullurl", "source.git.httpauth",
    "source.git.knownsshhosts", "source.git.mountsshsock", "source.git.subdir",
    "source.git.checksum", "source.git.skipsubmodules", "source.git.mtime",
    "source.http", "source.http.auth", "source.http.checksum", "source.http.perm",
    "exec.meta.base", "exec.meta.proxyenv", "exec.meta.network", "exec.meta.security",
    "exec.meta.ulimit", "exec.meta.removemountstubs.recursive",
    "exec.mount.bind", "exec.mount.bind.readwrite-nooutput", "exec.mount.selector",
    "exec.mount.cache", "exec.mount.cache.sharing",
    "exec.mount.tmpfs", "exec.mount.tmpfs.size", "exec.mount.secret", "exec.mount.ssh",
    "exec.secretenv", "exec.validexitcode",
    "file.base", "file.rm.wildcard", "file.rm.nofollowsymlink",
    "file.copy.includeexcludepatterns", "file.copy.requiredpaths",
    "file.copy.alwaysreplaceexistingdestpaths", "file.copy.modestring", "file.symlink.create",
    "mergeop", "platform", "constraints",
    "meta.ignorecache", "meta.description", "meta.exportcache",
    "exporter.sourcedateepoch",
)  # fmt: skip


def offer(here: Platform, emulated: tuple[Platform, ...] = ()) -> Offer:
    """`here` is this machine's platform; `emulated` are others whose commands it can run."""
    worker = WorkerInfo(
        id="lazybuild",
        labels={f"{LABEL}executor": "lazybuild"},
        platforms=(here, *emulated),
    )
    return Offer(
        frontend=dict.fromkeys(FRONTEND, True),
        llb=dict.fromkeys(LLB, True),
        workers=(worker,),
    )

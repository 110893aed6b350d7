"""A BuildKit as a frontend sees it: LLBBridge over real gRPC, with files and images from tables.

Solving takes a definition apart and remembers it; a ref is the number of the solve. Files are read
from `locals` by the name of the local source (or the identifier of another source) of that solve,
or come from `written` whatever the ref. A container is this machine: its process is a real one.
"""

import contextlib
import json
import subprocess
from concurrent import futures

import grpc

from lazybuild.llb.graph import walk
from lazybuild.llb.ops import SourceOp
from lazybuild.wire.buildkit_frontend_protos import gateway_pb2 as pb
from lazybuild.wire.buildkit_frontend_protos import stat_pb2
from lazybuild.wire.decode import decode
from lazybuild.wire.gateway import SERVICE, Gateway

FRONTEND = ("frontend.inputs", "source.metaresolver", "solve.base")
ANSWERS = {
    "Ping": pb.PingRequest,
    "ResolveSourceMeta": pb.ResolveSourceMetaRequest,
    "ResolveImageConfig": pb.ResolveImageConfigRequest,
    "Solve": pb.SolveRequest,
    "ReadFile": pb.ReadFileRequest,
    "ReadDir": pb.ReadDirRequest,
    "Inputs": pb.InputsRequest,
    "Warn": pb.WarnRequest,
    "Return": pb.ReturnRequest,
    "NewContainer": pb.NewContainerRequest,
    "ReleaseContainer": pb.ReleaseContainerRequest,
}


def pinged(channel):
    """The gateway as a frontend has it when it begins to work."""
    gateway = Gateway(channel)
    gateway.ping()
    return gateway


class Bridge:
    """Start it with `with`; `target` is what a channel dials."""

    def __init__(self, locals_, images=None, *, frontend=FRONTEND, llb=None, inputs=None):
        self.locals = locals_
        self.images = images or {}
        self.commit = b""
        self.frontend = frontend
        self.llb = llb
        self.inputs = inputs or {}
        self.solves = []
        self.requests = []
        self.warnings = []
        self.returned = []
        self.failing = {}
        self.written = {}
        self.containers = {}
        self.labels = {}

    def __enter__(self):
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                getattr(self, f"on_{name.lower()}"),
                request_deserializer=request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for name, request in ANSWERS.items()
        }
        handlers["ExecProcess"] = grpc.stream_stream_rpc_method_handler(
            self.on_execprocess,
            request_deserializer=pb.ExecMessage.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        generic = grpc.method_handlers_generic_handler(SERVICE, handlers)
        self._server.add_generic_rpc_handlers((generic,))
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(None)

    # --- what tests ask ------------------------------------------------------------------------

    @property
    def result(self):
        (request,) = self.returned
        assert not request.HasField("error"), request.error.message
        return request.result

    @property
    def error(self):
        (request,) = self.returned
        assert request.HasField("error")
        return request.error

    def graph(self, ref):
        """The graph behind a ref."""
        return decode(self.solves[int(ref)].Definition)

    def config(self, key="containerimage.config"):
        return json.loads(self.result.metadata[key])

    # --- the protocol ---------------------------------------------------------------------------

    def on_ping(self, request, context):
        llb = [{"ID": name, "Enabled": enabled} for name, enabled in (self.llb or {}).items()]
        worker = {
            "ID": "w",
            "Labels": self.labels,
            "platforms": [{"OS": "linux", "Architecture": "amd64"}],
        }
        caps = [{"ID": name, "Enabled": True} for name in self.frontend]
        return pb.PongResponse(FrontendAPICaps=caps, LLBCaps=llb, Workers=[worker])

    def on_resolvesourcemeta(self, request, context):
        self.requests.append(request)
        if request.Source.identifier.startswith("git://"):
            assert request.Git.ReturnObject
            git = pb.ResolveSourceGitResponse(CommitObject=self.commit)
            return pb.ResolveSourceMetaResponse(Source=request.Source, Git=git)
        name = request.Source.identifier.removeprefix("docker-image://")
        digest, config = self._image(name, context)
        image = pb.ResolveSourceImageResponse(Digest=digest, Config=config)
        return pb.ResolveSourceMetaResponse(Source=request.Source, Image=image)

    def on_resolveimageconfig(self, request, context):
        digest, config = self._image(request.Ref, context)
        self.requests.append(request)
        return pb.ResolveImageConfigResponse(Digest=digest, Config=config, Ref=request.Ref)

    def _image(self, name, context):
        if name not in self.images:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{name}: not found")
        return self.images[name]

    def on_solve(self, request, context):
        if "Solve" in self.failing:
            status = self.failing["Solve"]
            context.set_trailing_metadata(
                (("grpc-status-details-bin", status.SerializeToString()),)
            )
            context.abort(grpc.StatusCode.UNKNOWN, status.message)
        self.solves.append(request)
        result = pb.Result(ref=pb.Ref(id=str(len(self.solves) - 1)))
        return pb.SolveResponse(result=result)

    def _files(self, ref):
        head = self.graph(ref)
        (name,) = (v.op.identifier for v in walk(head.vertex) if isinstance(v.op, SourceOp))
        return self.locals.get(name.removeprefix("local://"), {})

    def on_readfile(self, request, context):
        data = self.written.get(request.FilePath)
        if data is None:
            data = self._files(request.Ref).get(request.FilePath.removeprefix("/"))
        if data is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{request.FilePath}: no such file")
        if request.HasField("Range"):
            data = data[: request.Range.Length]
        return pb.ReadFileResponse(Data=data)

    def on_readdir(self, request, context):
        if self.written and request.DirPath == "/":
            return pb.ReadDirResponse()
        folder = request.DirPath.strip("/")
        names = [name.removeprefix(folder).removeprefix("/") for name in self._files(request.Ref)]
        wanted = [name for name in names if request.IncludePattern in ("", name)]
        return pb.ReadDirResponse(entries=[stat_pb2.Stat(path=name) for name in wanted])

    def on_inputs(self, request, context):
        return pb.InputsResponse(Definitions=self.inputs)

    def on_warn(self, request, context):
        self.warnings.append(request)
        return pb.WarnResponse()

    def on_return(self, request, context):
        self.returned.append(request)
        return pb.ReturnResponse()

    # --- containers -------------------------------------------------------------------------------

    def on_newcontainer(self, request, context):
        self.containers[request.ContainerID] = (request, [])
        return pb.NewContainerResponse()

    def on_releasecontainer(self, request, context):
        for process in self.containers[request.ContainerID][1]:
            process.kill()
        return pb.ReleaseContainerResponse()

    def on_execprocess(self, requests, context):
        asked = next(requests)
        meta = asked.Init.Meta
        env = dict(item.split("=", 1) for item in meta.env)
        with subprocess.Popen(
            meta.args, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            self.containers[asked.Init.ContainerID][1].append(process)
            yield pb.ExecMessage(ProcessID=asked.ProcessID, Started=pb.StartedMessage())
            for line in process.stdout:
                yield pb.ExecMessage(ProcessID=asked.ProcessID, File={"Fd": 1, "Data": line})
            said = process.stderr.read()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            yield pb.ExecMessage(ProcessID=asked.ProcessID, File={"Fd": 2, "Data": said})
            ended = pb.ExitMessage(Code=process.returncode % 256)
            if process.returncode:
                ended.Error.message = f"exit code: {process.returncode}"
            yield pb.ExecMessage(ProcessID=asked.ProcessID, Exit=ended)
            yield pb.ExecMessage(ProcessID=asked.ProcessID, Done=pb.DoneMessage())

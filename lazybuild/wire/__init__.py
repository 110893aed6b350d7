"""BuildKit's protocols: graphs as protobuf, gateway, control and session. Knows llb, nothing above.

The only room that imports protobuf and grpc (beside `frontend`); nothing imports it unless a
BuildKit is spoken to. The .proto files are in `proto`, what `make protos` makes of them in
`buildkit_frontend_protos`.
"""

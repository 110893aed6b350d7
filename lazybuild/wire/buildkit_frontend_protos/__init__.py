"""Generated from `wire/proto` by `make protos`; not edited by hand."""

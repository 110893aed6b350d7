"""What the ops of a graph do on this machine: the solver's `Ops` over sources, snapshots, executor.

Knows no Dockerfile, no command line and no image that is written in the end.
"""

"""Runs one step: the code of a small program that a bare interpreter executes for each RUN.

Owns everything between "here is a mounted root directory" and "the command ended". Three
processes, so that each knows only what it must:

    A  outer   private mount namespace; builds the tree of mounts over the root directory, makes
               and removes mount points that the image lacks; lives outside the pid namespace,
               where the step can't see it
    B  init    pid 1 of the step: mounts /proc, pivots, reaps, kills what is left over
    C  step    gives up privileges and becomes the command

`parcel` packs the compiled modules and the spec for the interpreter, so nothing has to be found or
compiled when a step starts, wherever lazybuild is installed. The modules use `os`, `struct`,
`select`, `_signal` and linux.syscalls, and keep away from `json`, `signal`, `socket` and `typing`:
importing those would cost more than the step. They know nothing else of lazybuild.
"""

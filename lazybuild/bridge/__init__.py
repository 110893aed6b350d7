"""Frontend images under this engine: the process, what it may ask, and what it hands back.

BuildKit's gateway from the other side. Everything that a frontend says is hostile. Knows no flags
and no Dockerfile; what solves graphs and finds images is given to it.
"""

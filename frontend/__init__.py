"""The Dockerfile compiler as a BuildKit frontend: what `# syntax=…/lazybuild-frontend` runs.

BuildKit starts it in a container of its own and answers its questions over standard input and
output. It has no files, no network and no flags: all it knows comes from the environment and
through the gateway. Uses dockerfile, llb, wire, oci, errors; nothing in lazybuild imports it.
"""

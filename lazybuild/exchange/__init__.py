"""Caches that machines exchange: records and layers at a registry, in a directory, in an image.

Knows what a record is and where it can lie; must not know Dockerfiles, flags or how a step runs.
"""

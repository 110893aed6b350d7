"""The composition root: a request in, an image out. The only room that knows every other one.

`run.build` builds; `library`, `shelf`, `transfer`, `container` are for images outside of a build.
Imports nothing itself, so that a verb loads only what it needs.
"""

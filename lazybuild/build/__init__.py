"""The composition root: a request in, an image out. The only room that knows every other one."""

from lazybuild.build.run import build

__all__ = ["build"]

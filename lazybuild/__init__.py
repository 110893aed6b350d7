"""lazybuild: a rootless, daemonless image builder over lazily mounted eStargz layers."""

__version__ = "0.1.0"

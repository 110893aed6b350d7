"""What Python says when the system has no more memory, threads or open files, and how to go on.

Each library words it in its own way; this module knows the words. It knows no error of lazybuild.
"""

import errno
import sys
import threading

SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
_NO_THREAD = ("can't start new thread", "can't allocate")  # RuntimeErrors of Python
_NO_LIBRARY = ("failed to map segment", "cannot allocate memory")  # of ld.so


def of_memory(error: BaseException) -> str:
    """What there is not enough of, when the error is about memory or threads; else nothing."""
    said = str(error)
    match error:
        case MemoryError():
            return said or "no memory left"
        case RuntimeError() if said.startswith(_NO_THREAD):
            return said
        case ImportError() | OSError() if any(words in said for words in _NO_LIBRARY):
            return said
        case OSError(errno=errno.ENOMEM | errno.EAGAIN):
            return said
    return ""


def begun(thread: threading.Thread) -> bool:
    """Start it; False where the system gives no more threads."""
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        if not of_memory(error):
            raise
        return False
    return True


def hush_threads() -> None:
    """From now on a thread that ends for a shortage says so in one line; a bug is shown whole."""
    threading.excepthook = _ended


def _ended(args: threading.ExceptHookArgs) -> None:
    what = of_memory(args.exc_value) if args.exc_value is not None else ""
    if not what:
        threading.__excepthook__(args)
        return
    name = args.thread.name if args.thread is not None else "unknown"
    sys.stderr.write(f"lazybuild: thread {name} ended: {what}\n")

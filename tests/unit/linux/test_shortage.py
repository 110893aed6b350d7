"""What counts as a shortage, and what goes on in spite of one."""

import errno
import subprocess
import sys
import threading

import pytest

from lazybuild.linux.shortage import begun, of_memory
from lazybuild.linux.workers import Workers

NO_THREADS = """
import resource, threading, time
from lazybuild.linux.workers import Workers
from lazybuild.linux.shortage import begun
workers = Workers(4, "few")
resource.setrlimit(resource.RLIMIT_AS, (1 << 28,) * 2)
threading.stack_size(1 << 29)
done = threading.Semaphore(0)
for _ in range(3):
    workers.do(lambda: (time.sleep(0.05), done.release()))
print([done.acquire(timeout=10) for _ in range(3)], begun(threading.Thread(target=print)))
"""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "no memory left"),
        (RuntimeError("can't start new thread"), "can't start new thread"),
        (RuntimeError("can't allocate read lock"), "can't allocate read lock"),
        (ImportError("libssl.so.3: failed to map segment from shared object"), "libssl"),
        (OSError("libz.so.1: cannot allocate memory"), "libz"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "Cannot allocate memory"),
        (RuntimeError("a bug"), ""),
        (ImportError("No module named 'x'"), ""),
        (OSError(errno.ENOENT, "No such file"), ""),
    ],
)
def test_words_of_a_shortage(error, told):
    found = of_memory(error)
    assert told in found
    assert bool(found) == bool(told)


def test_tasks_wait_for_the_threads_there_are():
    ended = subprocess.run(
        [sys.executable, "-c", NO_THREADS], check=False, capture_output=True, text=True
    )
    assert (ended.stdout, ended.stderr) == ("[True, True, True] False\n", "")


def test_workers_do_tasks_and_forget_the_rest_when_closed():
    seen = threading.Event()
    workers = Workers(1, "one")
    workers.do(seen.set)
    assert seen.wait(10)
    workers.close()
    with pytest.raises(RuntimeError, match="shutdown"):
        workers.do(seen.set)


def test_a_thread_that_can_begin_has_begun():
    seen = threading.Event()
    assert begun(threading.Thread(target=seen.set))
    assert seen.wait(10)

"""A pool of threads that goes on with those it has where the system gives no more."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lazybuild.linux.shortage import of_memory


class Workers:
    """Threads for tasks whose outcome nobody waits for; as many as the system gives, up to `count`.

    The first is started at once: RuntimeError or MemoryError when there is not even that one.
    """

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, name)
        self._pool.submit(int).result()

    def do(self, task: Callable[..., object], *args: object) -> None:
        """Queue it. What a pool has no new thread for waits for those that it has."""
        try:
            self._pool.submit(task, *args)
        except RuntimeError as error:
            if not of_memory(error):
                raise

    def close(self) -> None:
        """Forget what has not begun; nothing is waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

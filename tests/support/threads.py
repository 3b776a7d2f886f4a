"""A thread that runs while a process is started, and records in which process its objects are finalised."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Finalised:
    """An object that writes to a pipe when it is finalised, in whichever process."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def __del__(self) -> None:
        os.write(self._pipe, b"cleared away")


@contextmanager
def thread_at_work() -> Iterator[Callable[[], bytes]]:
    """Run a thread with a thread-local object until the block ends; yield a function that reads what was written."""
    reading, pipe = os.pipe()
    os.set_blocking(reading, False)
    local, begun, done = threading.local(), threading.Event(), threading.Event()

    def work() -> None:
        local.file = _Finalised(pipe)
        begun.set()
        done.wait()

    def written() -> bytes:
        try:
            return os.read(reading, 100)
        except BlockingIOError:
            return b""

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    yield written
    done.set()
    thread.join()

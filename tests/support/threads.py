"""A thread at work while a process is started, which notes where what it has is cleared away."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Tells:
    """Writes where it is cleared away."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def __del__(self) -> None:
        os.write(self._pipe, b"cleared away")


@contextmanager
def thread_at_work() -> Iterator[Callable[[], bytes]]:
    """A thread that has something of its own until the block ends; gives what was noted since it was last asked."""
    listening, pipe = os.pipe()
    os.set_blocking(listening, False)
    mine, begun, done = threading.local(), threading.Event(), threading.Event()

    def work() -> None:
        mine.file = _Tells(pipe)
        begun.set()
        done.wait()

    def noted() -> bytes:
        try:
            return os.read(listening, 100)
        except BlockingIOError:
            return b""

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    yield noted
    done.set()
    thread.join()

"""A process with pipes to it, in which nothing of ours runs before its own program does.

uvloop's own way runs Python between fork and exec, which clears away what the other threads had: a file that one of
them was just writing to is closed behind a lock that nobody gives back, and both processes hang for ever.
"""

import asyncio
import subprocess
from collections.abc import Sequence
from typing import Self


class PipedProcess:
    """As `asyncio.subprocess.Process`, on whatever event loop."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        stdin: asyncio.StreamWriter,
        stdout: asyncio.StreamReader,
        reading: asyncio.ReadTransport,
    ) -> None:
        self.stdin, self.stdout, self.pid = stdin, stdout, process.pid
        self._process = process
        self._reading = reading

    @classmethod
    async def start(cls, command: Sequence[str], *, read_ahead: int) -> Self:
        """In a session of its own; of its output, up to about `read_ahead` bytes wait here.

        Raises:
            OSError: it cannot be started.
        """
        loop = asyncio.get_running_loop()
        process = subprocess.Popen(  # noqa: ASYNC220, S603  # milliseconds; the command is ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        try:
            stdout = asyncio.StreamReader(limit=read_ahead)
            reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdout), process.stdout)
            unused = asyncio.StreamReaderProtocol(asyncio.StreamReader())
            writing, protocol = await loop.connect_write_pipe(lambda: unused, process.stdin)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return cls(process, asyncio.StreamWriter(writing, protocol, None, loop), stdout, reading)

    @property
    def returncode(self) -> int | None:
        """None while it lives."""
        return self._process.poll()

    async def wait(self) -> int:
        """Until it has ended, by itself or because it was killed; the exit code."""
        code = await asyncio.to_thread(self._process.wait)
        self.stdin.close()
        self._reading.close()
        return code

    def leave(self) -> "asyncio.Task[int]":
        """Let it end by itself, as it does when nothing can come any more."""
        self.stdin.close()
        return asyncio.create_task(self.wait())

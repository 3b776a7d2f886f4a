"""A child process with pipes, in which no Python code of ours runs before its program starts.

uvloop runs Python between fork and exec, which destroys the objects of the other threads in the child. A file that one
of them was writing to is closed; closing waits for a lock that no thread will release, and both processes hang.
"""

import asyncio
import subprocess
from collections.abc import Sequence
from typing import Self


class PipedProcess:
    """A replacement for `asyncio.subprocess.Process` that works on every event loop."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        stdin: asyncio.StreamWriter,
        stdout: asyncio.StreamReader,
        stdout_transport: asyncio.ReadTransport,
    ) -> None:
        self.stdin, self.stdout, self.pid = stdin, stdout, process.pid
        self._process = process
        self._stdout_transport = stdout_transport

    @classmethod
    async def start(cls, command: Sequence[str], *, read_ahead: int) -> Self:
        """Start `command` in its own session, and buffer up to about `read_ahead` bytes of its output.

        Raises:
            OSError: the process cannot be started.
        """
        loop = asyncio.get_running_loop()
        process = subprocess.Popen(  # noqa: ASYNC220, S603  # milliseconds; the command is ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        try:
            stdout = asyncio.StreamReader(limit=read_ahead)
            stdout_transport, _ = await loop.connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(stdout), process.stdout
            )
            unused = asyncio.StreamReaderProtocol(asyncio.StreamReader())
            stdin_transport, protocol = await loop.connect_write_pipe(lambda: unused, process.stdin)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return cls(process, asyncio.StreamWriter(stdin_transport, protocol, None, loop), stdout, stdout_transport)

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while the process runs."""
        return self._process.poll()

    async def wait(self) -> int:
        """Wait until the process has ended, and return its exit code."""
        code = await asyncio.to_thread(self._process.wait)
        self.stdin.close()
        self._stdout_transport.close()
        return code

    def finish(self) -> "asyncio.Task[int]":
        """Close its input, so that the process ends by itself."""
        self.stdin.close()
        return asyncio.create_task(self.wait())

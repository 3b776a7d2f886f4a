"""Child processes that each do one thing at a time for this process, and may die without harm."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from imgsvc.adapters.sandbox.framing import frame, receive_frame
from imgsvc.adapters.sandbox.subprocess import PipedProcess
from imgsvc.errors import SandboxUnavailable
from imgsvc.logs import get_logger
from imgsvc.process.child_process import RUN_MODULE
from imgsvc.services.codec.watchdog import Watch, Watchdog, process_clock

log = get_logger(__name__)

LINGER = 5.0
"""Seconds that an idle child waits for its next call: starting one takes a third of a second of CPU time."""
READ_AHEAD = 2**20
"""Bytes of output buffered per child."""
T = TypeVar("T")


class NotStarted(Exception):
    """The child ended before it began the work, which is therefore not the cause."""


class ChildDied(Exception):
    """The child ended while it worked."""


class InvalidMessage(ChildDied):
    """The child sent something else than a response, and was killed."""


@dataclass(eq=False, slots=True)
class Child:
    """A child process; `started` means that it has begun the work of the current call."""

    process: PipedProcess
    retirement: asyncio.TimerHandle | None = None
    finishing: "asyncio.Task[int] | None" = None
    overran: bool = False
    started: bool = False

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def overrun(self) -> None:
        self.overran = True
        self.kill()

    def kill(self) -> None:
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)

    def retire(self) -> None:
        self.finishing = self.process.finish()


class ChildPool:
    """Children that run `module`. Each serves one call, then waits for the next one and ends after `linger` seconds.

    `watchdog` sets how long a call may take: a child limits its own CPU time, and one that sleeps is killed from here.
    """

    def __init__(self, module: str, argument: str, *, max_message: int, watchdog: Watchdog, linger: float) -> None:
        """Refuse messages of more than `max_message` bytes from a child."""
        self._command = (*RUN_MODULE, module, argument)
        self._max_message = max_message
        self._watchdog = watchdog
        self._linger = linger
        self._idle: list[Child] = []
        self._children: set[Child] = set()
        self.closing = False

    @property
    def pids(self) -> list[int]:
        """The process ids of the running children."""
        return [child.process.pid for child in self._children if child.alive]

    async def with_child(self, work: Callable[[Child], Awaitable[T]]) -> T:
        """Return the result of `work`, which is repeated with a new child if an idle one has died meanwhile.

        Raises:
            SandboxUnavailable: no child can be started.
        """
        while True:
            is_new = not self._idle
            child = await self._start() if is_new else self._take_idle()
            try:
                result = await work(child)
            except NotStarted as exc:
                log.warning("sandbox_lost", pid=child.process.pid, exit_code=child.process.returncode)
                if is_new:  # the next would not start either, unlike after the death of an idle child
                    raise SandboxUnavailable("The sandbox process does not start.") from exc
                continue
            try:
                return result
            finally:
                del result  # an exception raised later refers to this frame

    async def _start(self) -> Child:
        self._children = {child for child in self._children if child.alive}
        try:
            process = await PipedProcess.start(self._command, read_ahead=READ_AHEAD)
        except OSError as exc:  # out of memory, or of processes, for now
            raise SandboxUnavailable(f"The sandbox process could not be started: {exc}.") from exc
        child = Child(process)
        self._children.add(child)
        return child

    def _take_idle(self) -> Child:
        child = self._idle.pop()
        child.started = False
        if child.retirement:
            child.retirement.cancel()
        return child

    async def call(
        self, child: Child, request: dict[str, Any], data: bytes, *, parse: Callable[[dict[str, Any], bytes], T]
    ) -> T:
        """Send a request and return its parsed response; kill the child if anything goes wrong.

        Raises:
            NotStarted: the child ended before it began to work on the request.
            ChildDied: it ended while it worked.
            InvalidMessage: `parse` raised LookupError, TypeError or ValueError.
        """
        async with self.reserved(child) as watch:
            try:
                await self.begin(child, request, data, watch)
                return parse(*await self.receive(child))
            except (EOFError, OSError) as exc:
                await self.bury(child)
                raise (ChildDied if child.started else NotStarted) from exc
            except (LookupError, TypeError, ValueError) as exc:
                await self.bury(child)
                raise (InvalidMessage if child.started else NotStarted) from exc

    async def begin(self, child: Child, request: dict[str, Any], data: bytes, watch: Watch) -> None:
        """Send a request, and start the time when the child begins to work on it."""
        requests = child.process.stdin
        requests.write(frame(request, len(data)))
        requests.write(data)
        await requests.drain()
        await self.receive(child)
        child.started = True
        watch.begin(process_clock(child.process.pid))  # the time to start up does not count

    async def receive(self, child: Child) -> tuple[dict[str, Any], bytes]:
        return await receive_frame(child.process.stdout, at_most=self._max_message)

    async def bury(self, child: Child) -> None:
        """Kill the child, and wait for its exit code."""
        child.kill()
        await child.process.wait()

    @asynccontextmanager
    async def reserved(self, child: Child) -> AsyncIterator[Watch]:
        """Reserve the child for the block, and kill it if the block raises."""
        watch = self._watchdog.watch(child.overrun)
        watch.begin()
        try:
            yield watch
        except BaseException:
            await self.bury(child)
            raise
        finally:
            watch.end()
        self._idle.append(child)
        child.retirement = asyncio.get_running_loop().call_later(self._linger, partial(self._retire, child))

    def _retire(self, child: Child) -> None:
        self._idle.remove(child)
        child.retire()

    async def aclose(self) -> None:
        """Kill every child."""
        self.closing = True
        for child in self._idle:
            if child.retirement:
                child.retirement.cancel()
        self._idle.clear()
        for child in self._children:
            await self.bury(child)

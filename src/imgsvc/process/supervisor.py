"""Supervises the processes of a machine: starts them in order, restarts dead ones with backoff, stops all together."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from imgsvc.errors import StartupError
from imgsvc.logs import get_logger
from imgsvc.process.child_process import bound_to_parent

log = get_logger(__name__)

FIRST_BACKOFF = 0.5
MAX_BACKOFF = 30.0
STABLE_AFTER = 60.0
"""Uptime in seconds after which the backoff of a process is reset."""
STOPPED = (0, -signal.SIGTERM)
"""Exit codes of a process that stopped on request, to be restarted; they do not increase the backoff."""
_READY_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running; it has started when `ready` returns True.

    With `base` the other processes depend on it: they start after it and stop before it. `sockets` are file descriptors
    that it inherits; `hint` says where to look when it does not start.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], Awaitable[bool]] | None = None
    ready_within: float = 30.0
    base: bool = False
    sockets: tuple[int, ...] = ()
    hint: str = ""


class Supervisor:
    """A supervisor that keeps `children` running until `stopping` is set; each may take `drain` seconds to stop."""

    def __init__(self, children: Sequence[Child], *, stopping: asyncio.Event, drain: float) -> None:
        self._children = children
        self._stopping = stopping
        self._drain = drain
        self._keep_tasks: list[asyncio.Task[None]] = []
        self.running: dict[str, Process] = {}

    async def run(self, *, on_ready: Callable[[], None] | None = None) -> None:
        """Start all children, call `on_ready`, and return when all have stopped.

        Raises:
            StartupError: a child did not start; the others are stopped.
        """
        try:
            for base in (True, False):
                children = [child for child in self._children if child.base is base]
                self._keep_tasks += [asyncio.create_task(self._keep(child)) for child in children]
                await asyncio.gather(*map(self._until_ready, children))
            if on_ready and not self._stopping.is_set():
                on_ready()
            await self._stopping.wait()
        finally:
            self._stopping.set()
            await self._stop()

    async def _keep(self, child: Child) -> None:
        backoff = FIRST_BACKOFF
        while not self._stopping.is_set():
            started_at = monotonic()
            code = await self._run_once(child)
            if self._stopping.is_set():
                return
            if code in STOPPED or monotonic() - started_at > STABLE_AFTER:
                backoff = FIRST_BACKOFF
            log.warning("process_died", process=child.name, exit_code=code, restart_in=backoff)
            await pause(backoff, self._stopping)
            backoff = min(2 * backoff, MAX_BACKOFF)

    async def _run_once(self, child: Child) -> int | None:
        """Run the child to its end and return its exit code, or None if it could not be started."""
        try:
            process = await _start(child)
        except OSError as error:  # out of memory or of processes
            log.warning("process_not_started", process=child.name, error=str(error))
            return None
        self.running[child.name] = process
        if self._stopping.is_set():  # the stop came while the process was starting
            _signal(process, signal.SIGTERM)
        code = await process.wait()
        del self.running[child.name]
        return code

    async def _until_ready(self, child: Child) -> None:
        deadline = monotonic() + child.ready_within
        while child.ready is not None and not self._stopping.is_set() and not await child.ready():
            if monotonic() > deadline:
                raise StartupError(
                    f"The {child.name} process did not start within {child.ready_within:g} s. {child.hint}".rstrip()
                )
            await pause(_READY_POLL, self._stopping)

    async def _stop(self) -> None:
        """Stop the children concurrently: first those without `base`, then those with it."""
        for base in (False, True):
            await asyncio.gather(*(self._end(child.name) for child in self._children if child.base is base))
        await asyncio.gather(*self._keep_tasks)

    async def _end(self, name: str) -> None:
        process = self.running.get(name)
        if process is None:
            return
        _signal(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), self._drain + 5)
        except TimeoutError:
            log.warning("process_killed", process=name)
            _signal(process, signal.SIGKILL)
            await process.wait()


async def _start(child: Child) -> Process:
    # A session per child: Ctrl-C reaches only the supervisor, which then stops the children in order.
    return await create_subprocess_exec(
        *bound_to_parent(child.command),
        env={**os.environ, **child.env},
        stdin=DEVNULL,
        pass_fds=child.sockets,
        start_new_session=True,
    )


def _signal(process: Process, number: signal.Signals) -> None:
    """Send a signal; the process may have ended already if all were stopped at once, as systemd does."""
    with suppress(ProcessLookupError):
        process.send_signal(number)


def stop_on_signals(stopping: asyncio.Event) -> None:
    """Set `stopping` on SIGTERM, on Ctrl-C, and when the terminal closes (unless SIGHUP is ignored, as under nohup)."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Sleep for `seconds`, or until `stopping` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)

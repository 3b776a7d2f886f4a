"""Runs the processes of a machine: starts them in order, restarts what dies with back-off, stops them together."""

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
STEADY = 60.0
"""Seconds that a process must live for its next death to count as the first."""
STOPPED = (0, -signal.SIGTERM)
"""Exit codes of a process that somebody asked to stop, to have it started anew: no reason to wait longer each time."""
_READY_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running, which has come up when `ready` says True.

    `base` means that the others need it: they are started when it has come up, and it is stopped after them. `sockets`
    are file descriptors that it inherits; `hint` is where to look when it does not come up.
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
    """Keeps `children` running until `stopping` is set; `drain` is what each may take to stop, in seconds."""

    def __init__(self, children: Sequence[Child], *, stopping: asyncio.Event, drain: float) -> None:
        self._children = children
        self._stopping = stopping
        self._drain = drain
        self._keepers: list[asyncio.Task[None]] = []
        self.running: dict[str, Process] = {}

    async def run(self, *, on_ready: Callable[[], None] | None = None) -> None:
        """Start all, call `on_ready`, and return when all are stopped again.

        Raises:
            StartupError: a child did not come up; the others are stopped.
        """
        try:
            for base in (True, False):
                children = [child for child in self._children if child.base is base]
                self._keepers += [asyncio.create_task(self._keep(child)) for child in children]
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
            born = monotonic()
            code = await self._run_once(child)
            if self._stopping.is_set():
                return
            if code in STOPPED or monotonic() - born > STEADY:
                backoff = FIRST_BACKOFF
            log.warning("process_died", process=child.name, exit_code=code, restart_in=backoff)
            await pause(backoff, self._stopping)
            backoff = min(2 * backoff, MAX_BACKOFF)

    async def _run_once(self, child: Child) -> int | None:
        """Run the child to its end; its exit code, or None when it could not even be started."""
        try:
            process = await _start(child)
        except OSError as error:  # no memory or no process to be had right now
            log.warning("process_not_started", process=child.name, error=str(error))
            return None
        self.running[child.name] = process
        if self._stopping.is_set():  # asked to stop while it was being started
            _signal(process, signal.SIGTERM)
        code = await process.wait()
        del self.running[child.name]
        return code

    async def _until_ready(self, child: Child) -> None:
        deadline = monotonic() + child.ready_within
        while child.ready is not None and not self._stopping.is_set() and not await child.ready():
            if monotonic() > deadline:
                raise StartupError(
                    f"The {child.name} process did not come up within {child.ready_within:g} s. {child.hint}".rstrip()
                )
            await pause(_READY_POLL, self._stopping)

    async def _stop(self) -> None:
        """All together, but what the others need only after them."""
        for base in (False, True):
            await asyncio.gather(*(self._end(child.name) for child in self._children if child.base is base))
        await asyncio.gather(*self._keepers)

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
    # A session of its own: Ctrl-C reaches the supervisor alone, which then stops the others in order.
    return await create_subprocess_exec(
        *bound_to_parent(child.command),
        env={**os.environ, **child.env},
        stdin=DEVNULL,
        pass_fds=child.sockets,
        start_new_session=True,
    )


def _signal(process: Process, number: signal.Signals) -> None:
    """Where everything is asked to stop at one time, as systemd does it, it may have ended a moment ago."""
    with suppress(ProcessLookupError):
        process.send_signal(number)


def stop_on_signals(stopping: asyncio.Event) -> None:
    """SIGTERM, Ctrl-C, and the closing of the terminal (unless it is to be ignored, as under nohup) ask for a stop."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Sleep for `seconds`, or until `stopping` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)

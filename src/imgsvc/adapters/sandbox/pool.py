"""The child processes of the sandbox, in which images that may crash a worker are compressed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from imgsvc.adapters.sandbox.child import CRASHES, OUT_OF_MEMORY, SandboxLimits
from imgsvc.adapters.sandbox.framing import frame, receive_frame
from imgsvc.adapters.sandbox.subprocess import PipedProcess
from imgsvc.domain.imaging.compress import CodecLimits, Compressed, Rendition, ReservationTooSmall
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import CodecError, DecodeAbandoned, SandboxKilled, SandboxUnavailable, WorkerCrash
from imgsvc.logs import get_logger
from imgsvc.process.child_process import RUN_MODULE
from imgsvc.services.codec.watchdog import Watch, Watchdog, process_clock

log = get_logger(__name__)

LINGER = 5.0
"""Seconds that an idle child waits for its next image: starting one takes a third of a second of CPU time."""
_CODEC_ERRORS = {error.code: error for error in CodecError.__subclasses__()}
_READ_AHEAD = 2**20
"""Bytes of output buffered per child."""

Result = Compressed | ReservationTooSmall | CodecError
"""The result of a child, or the error to raise as if it had occurred here."""


class _NotStarted(Exception):
    """The child ended before it opened the image, which is therefore not the cause."""


@dataclass(eq=False, slots=True)
class _Child:
    process: PipedProcess
    retirement: asyncio.TimerHandle | None = None
    finishing: "asyncio.Task[int] | None" = None
    overran: bool = False

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


class SandboxPool:
    """The port `Sandbox`. A child serves one image at a time, waits for the next one, and ends after `linger` seconds.

    A child has `memory` bytes of address space. `watchdog` sets how long an image may take: the child limits its own
    CPU time, and one that sleeps is killed from here. An image is blamed for what its child did, such as a crash, but
    not for what was done to the child, such as a signal from outside.
    """

    def __init__(self, *, limits: CodecLimits, memory: int, watchdog: Watchdog, linger: float = LINGER) -> None:
        self._limits = SandboxLimits(memory, watchdog.seconds, limits)
        self._watchdog = watchdog
        self._linger = linger
        self._idle: list[_Child] = []
        self._children: set[_Child] = set()
        self._closing = False

    @property
    def pids(self) -> list[int]:
        """The process ids of the running children."""
        return [child.process.pid for child in self._children if child.alive]

    async def compress(self, data: bytes, specs: Sequence[Spec], *, reserved_pixels: int) -> Compressed:
        request = {"specs": [spec.model_dump(mode="json") for spec in specs], "reserved_pixels": reserved_pixels}
        while True:
            is_new = not self._idle
            child = await self._start() if is_new else self._take_idle()
            try:
                result = await self._call(child, request, data)
            except _NotStarted as exc:
                log.warning("sandbox_lost", pid=child.process.pid, exit_code=child.process.returncode)
                if is_new:  # the next would not start either, unlike after the death of an idle child
                    raise SandboxUnavailable("The sandbox process does not start.") from exc
                continue
            try:
                if isinstance(result, Exception):
                    raise result
                return result
            finally:
                del result  # a raised exception refers to this frame: this breaks the cycle that would keep the image

    async def _start(self) -> _Child:
        self._children = {child for child in self._children if child.alive}
        command = (*RUN_MODULE, "imgsvc.adapters.sandbox.child", self._limits.dump())
        try:
            process = await PipedProcess.start(command, read_ahead=_READ_AHEAD)
        except OSError as exc:  # out of memory, or of processes, for now
            raise SandboxUnavailable(f"The sandbox process could not be started: {exc}.") from exc
        child = _Child(process)
        self._children.add(child)
        return child

    def _take_idle(self) -> _Child:
        child = self._idle.pop()
        if child.retirement:
            child.retirement.cancel()
        return child

    async def _call(self, child: _Child, request: dict[str, Any], data: bytes) -> Result:
        started = False
        async with self._reserved(child) as watch:
            requests, responses = child.process.stdin, child.process.stdout
            receive = partial(receive_frame, responses, at_most=self._limits.memory)
            try:
                requests.write(frame(request, len(data)))
                requests.write(data)
                await requests.drain()
                await receive()
                started = True
                watch.begin(process_clock(child.process.pid))  # the time to start up does not count
                return _parse_result(*await receive())
            except asyncio.CancelledError:
                if started:
                    raise DecodeAbandoned from None
                raise
            except (EOFError, OSError) as exc:
                child.kill()
                await child.process.wait()
                if not started:
                    raise _NotStarted from exc
                raise DecodeAbandoned if self._closing else _crash_error(child) from exc
            except (LookupError, TypeError, ValueError) as exc:  # an invalid message
                raise WorkerCrash if started else _NotStarted from exc

    @asynccontextmanager
    async def _reserved(self, child: _Child) -> AsyncIterator[Watch]:
        """Reserve the child for the block, and kill it if the block raises."""
        watch = self._watchdog.watch(child.overrun)
        watch.begin()
        try:
            yield watch
        except BaseException:
            child.kill()
            await child.process.wait()
            raise
        finally:
            watch.end()
        self._idle.append(child)
        child.retirement = asyncio.get_running_loop().call_later(self._linger, self._retire, child)

    def _retire(self, child: _Child) -> None:
        self._idle.remove(child)
        child.retire()

    async def aclose(self) -> None:
        """Kill every child; an image that one is working on gets DecodeAbandoned."""
        self._closing = True
        for child in self._idle:
            if child.retirement:
                child.retirement.cancel()
        self._idle.clear()
        for child in self._children:
            child.kill()
            await child.process.wait()


def _crash_error(child: _Child) -> WorkerCrash:
    """Return the error for an image whose child has ended; if the child was killed from outside, it can be retried."""
    code = child.process.returncode
    log.warning("sandbox_crashed", pid=child.process.pid, exit_code=code, overran=child.overran)
    if child.overran or code == -signal.SIGXCPU:
        return WorkerCrash("Processing this image took too long and was stopped.")
    if code == OUT_OF_MEMORY:
        return WorkerCrash("Processing this image took too much memory and was stopped.")
    return WorkerCrash() if code is None or code >= 0 or code in CRASHES else SandboxKilled()


def _parse_result(head: dict[str, Any], body: bytes) -> Result:
    """Return the result in a message; raise LookupError, TypeError or ValueError if it is invalid."""
    if "more_pixels" in head:
        return ReservationTooSmall(head["more_pixels"])
    if "error" in head:
        return _CODEC_ERRORS[head["error"]](head["detail"])
    renditions, start = [], 0
    for fields in head["renditions"]:
        end = start + fields.pop("bytes")
        renditions.append(Rendition(body[start:end], **fields))
        start = end
    return Compressed(head["input_format"], head["width"], head["height"], tuple(renditions))

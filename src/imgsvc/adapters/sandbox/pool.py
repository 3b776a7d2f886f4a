"""Quarantine: images that a worker died with are decoded in processes that nobody else works in."""

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
"""Seconds that a process waits for its next image: starting one takes a third of a second of the processor."""
_CODEC_ERRORS = {error.code: error for error in CodecError.__subclasses__()}
_AT_ONCE = 2**20
"""Bytes read ahead from a process."""

Answer = Compressed | ReservationTooSmall | CodecError
"""What a process made of an image, or what is to be raised as if it had happened here."""


class _NotBegun(Exception):
    """The process ended before it looked at the image, which is not to blame."""


@dataclass(eq=False, slots=True)
class _Child:
    process: PipedProcess
    retirement: asyncio.TimerHandle | None = None
    leaving: "asyncio.Task[int] | None" = None
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
        self.leaving = self.process.leave()


class SandboxPool:
    """The port `Sandbox`. A process serves one image at a time, waits a little for the next, and then ends.

    It has `memory` bytes of address space. `watchdog` says how long an image may take: the process is told, and ends
    itself by the processor's time; one that sleeps is ended here. An image is blamed for what its process did, not for
    what was done to it: a process that was killed is none of its fault.
    """

    def __init__(self, *, limits: CodecLimits, memory: int, watchdog: Watchdog, linger: float = LINGER) -> None:
        self._terms = SandboxLimits(memory, watchdog.seconds, limits)
        self._watchdog = watchdog
        self._linger = linger
        self._idle: list[_Child] = []
        self._children: set[_Child] = set()
        self._closing = False

    @property
    def pids(self) -> list[int]:
        """Of the processes that live."""
        return [child.process.pid for child in self._children if child.alive]

    async def compress(self, data: bytes, specs: Sequence[Spec], *, max_pixels_now: int) -> Compressed:
        request = {"specs": [spec.model_dump(mode="json") for spec in specs], "max_pixels_now": max_pixels_now}
        while True:
            fresh = not self._idle
            child = await self._start() if fresh else self._take()
            try:
                answer = await self._ask(child, request, data)
            except _NotBegun as exc:
                log.warning("sandbox_lost", pid=child.process.pid, exit_code=child.process.returncode)
                if fresh:  # the next would not come up either; one that died while idle is another matter
                    raise SandboxUnavailable("The process for images in quarantine does not come up.") from exc
                continue
            try:
                if isinstance(answer, Exception):
                    raise answer
                return answer
            finally:
                del answer  # raised, it would hold this frame, which holds it and the image

    async def _start(self) -> _Child:
        self._children = {child for child in self._children if child.alive}
        command = (*RUN_MODULE, "imgsvc.adapters.sandbox.child", self._terms.dump())
        try:
            process = await PipedProcess.start(command, read_ahead=_AT_ONCE)
        except OSError as exc:  # no memory or no process to be had right now
            raise SandboxUnavailable(f"No process could be started: {exc}.") from exc
        child = _Child(process)
        self._children.add(child)
        return child

    def _take(self) -> _Child:
        child = self._idle.pop()
        if child.retirement:
            child.retirement.cancel()
        return child

    async def _ask(self, child: _Child, request: dict[str, Any], data: bytes) -> Answer:
        begun = False
        async with self._held(child) as watch:
            requests, answers = child.process.stdin, child.process.stdout
            receive = partial(receive_frame, answers, at_most=self._terms.memory)
            try:
                requests.write(frame(request, len(data)))
                requests.write(data)
                await requests.drain()
                await receive()
                begun = True
                watch.begin(process_clock(child.process.pid))  # what it took to come up is not the image's
                return _understood(*await receive())
            except asyncio.CancelledError:
                if begun:
                    raise DecodeAbandoned from None
                raise
            except (EOFError, OSError) as exc:
                child.kill()
                await child.process.wait()
                if not begun:
                    raise _NotBegun from exc
                raise DecodeAbandoned if self._closing else _why_it_ended(child) from exc
            except (LookupError, TypeError, ValueError) as exc:  # it is out of its mind
                raise WorkerCrash if begun else _NotBegun from exc

    @asynccontextmanager
    async def _held(self, child: _Child) -> AsyncIterator[Watch]:
        """The process is the caller's while the block runs, and ends unless the block ends well."""
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
        """End every process, whatever it is doing; no image is blamed for that."""
        self._closing = True
        for child in self._idle:
            if child.retirement:
                child.retirement.cancel()
        self._idle.clear()
        for child in self._children:
            child.kill()
            await child.process.wait()


def _why_it_ended(child: _Child) -> WorkerCrash:
    """Return the verdict on an image whose process is gone; one that was killed by a signal may be retried."""
    code = child.process.returncode
    log.warning("sandbox_crashed", pid=child.process.pid, exit_code=code, overran=child.overran)
    if child.overran or code == -signal.SIGXCPU:
        return WorkerCrash("Processing this image took too long, so it was given up.")
    if code == OUT_OF_MEMORY:
        return WorkerCrash("Processing this image took too much memory, so it was given up.")
    return WorkerCrash() if code is None or code >= 0 or code in CRASHES else SandboxKilled()


def _understood(head: dict[str, Any], body: bytes) -> Answer:
    """Raises LookupError or TypeError when it makes no sense."""
    if "more_pixels" in head:
        return ReservationTooSmall(head["more_pixels"])
    if "error" in head:
        return _CODEC_ERRORS[head["error"]](head["detail"])
    renditions, start = [], 0
    for facts in head["renditions"]:
        end = start + facts.pop("bytes")
        renditions.append(Rendition(body[start:end], **facts))
        start = end
    return Compressed(head["input_format"], head["width"], head["height"], tuple(renditions))

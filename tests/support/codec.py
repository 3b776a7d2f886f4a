"""A minimal codec pool, and a sandbox that only records the images sent to it."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from imgsvc.domain.imaging.compress import CodecLimits, Compressed, compress
from imgsvc.domain.imaging.spec import Spec
from imgsvc.services.codec.pool import CodecPool
from imgsvc.services.codec.watchdog import Watch, Watchdog
from imgsvc.services.ports import Sandbox


@dataclass
class RecordingSandbox:
    """The port Sandbox in this process. It raises `error` for every image; with `gate`, images wait until it is set."""

    error: Exception | None = None
    images: list[bytes] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)
    gate: asyncio.Event | None = None
    inside: int = 0

    async def compress(self, data: bytes, specs: Sequence[Spec], *, reserved_pixels: int) -> Compressed:
        self.images.append(data)
        self.pixels.append(reserved_pixels)
        self.inside += 1
        try:
            if self.gate:
                await self.gate.wait()
            if self.error:
                raise self.error
            return compress(data, specs, CodecLimits(), reserved_pixels=reserved_pixels)
        finally:
            self.inside -= 1


class HoldingWatchdog(Watchdog):
    """A watchdog that holds each image that a codec thread begins, except the next `free`, until it is released."""

    def __init__(self, seconds: float = 60, *, free: int = 0) -> None:
        super().__init__(seconds)
        self._released = threading.Semaphore(0)
        self.free = free
        self.held = 0

    def wait(self) -> None:
        self.held += 1
        self._released.acquire(timeout=60)

    def release(self) -> None:
        """Let one of the held images continue."""
        self._released.release()

    def watch(self, on_overrun: Callable[[], None]) -> Watch:
        watch = _HeldWatch(self, on_overrun)
        self.watches.add(watch)
        return watch


class _HeldWatch(Watch):
    __slots__ = ()

    def begin(self, clock: Callable[[], float] | None = None) -> None:
        """Hold the image; this is called in a codec thread."""
        super().begin(clock)
        holding = self._watchdog
        assert isinstance(holding, HoldingWatchdog)
        if holding.free:
            holding.free -= 1
            return
        holding.wait()


def codec_pool(
    *,
    threads: int = 1,
    limits: CodecLimits = CodecLimits(max_pixels=900_000),  # noqa: B008  # frozen
    sandbox: Sandbox | None = None,
    watchdog: Watchdog | None = None,
    on_overrun: Callable[[], None] = lambda: None,
) -> CodecPool:
    """Return a pool with as many pixels as the largest allowed image; the default watchdog never reports an overrun."""
    return CodecPool(
        threads=threads,
        pixels=1,
        limits=limits,
        sandbox=sandbox or RecordingSandbox(),
        watchdog=watchdog or Watchdog(60),
        on_overrun=on_overrun,
    )

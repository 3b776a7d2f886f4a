"""A codec pool with everything around it as small as it gets, and a quarantine that only notes who was sent there."""

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
class NotedQuarantine:
    """The port Sandbox, in this very process: `error` refuses every image, `closed` has them wait."""

    error: Exception | None = None
    images: list[bytes] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)
    closed: asyncio.Event | None = None
    inside: int = 0

    async def compress(self, data: bytes, specs: Sequence[Spec], *, max_pixels_now: int) -> Compressed:
        self.images.append(data)
        self.pixels.append(max_pixels_now)
        self.inside += 1
        try:
            if self.closed:
                await self.closed.wait()
            if self.error:
                raise self.error
            return compress(data, specs, CodecLimits(), max_pixels_now=max_pixels_now)
        finally:
            self.inside -= 1


class Holding(Watchdog):
    """Keeps each image that a codec thread begins, but for the next `free`, until it is let go on."""

    def __init__(self, seconds: float = 60, *, free: int = 0) -> None:
        super().__init__(seconds)
        self._let = threading.Semaphore(0)
        self.free = free
        self.held = 0

    def wait(self) -> None:
        self.held += 1
        self._let.acquire(timeout=60)

    def let(self) -> None:
        """One of those that are held, go on."""
        self._let.release()

    def watch(self, on_overrun: Callable[[], None]) -> Watch:
        watch = _HeldWatch(self, on_overrun)
        self.watches.add(watch)
        return watch


class _HeldWatch(Watch):
    __slots__ = ()

    def begin(self, clock: Callable[[], float] | None = None) -> None:
        """In the codec's thread, of which these tests have one or two."""
        super().begin(clock)
        holding = self._watchdog
        assert isinstance(holding, Holding)
        if holding.free:
            holding.free -= 1
            return
        holding.wait()


def codec_pool(
    *,
    threads: int = 1,
    limits: CodecLimits = CodecLimits(max_pixels=900_000),  # noqa: B008  # frozen
    quarantine: Sandbox | None = None,
    watchdog: Watchdog | None = None,
    on_overrun: Callable[[], None] = lambda: None,
) -> CodecPool:
    """As many pixels as the largest image allowed has; a watchdog that is not given never barks."""
    return CodecPool(
        threads=threads,
        pixels=1,
        limits=limits,
        sandbox=quarantine or NotedQuarantine(),
        watchdog=watchdog or Watchdog(60),
        on_overrun=on_overrun,
    )

"""A codec pool with everything around it as small as it gets, and a quarantine that only notes who was sent there."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from imgsvc.domain.images import CodecLimits, Compressed, compress
from imgsvc.domain.specs import Spec
from imgsvc.services.codec import CodecPool
from imgsvc.services.ports import Quarantine
from imgsvc.services.watchdog import Watchdog


@dataclass
class NotedQuarantine:
    """The port Quarantine, in this very process: `error` refuses every picture, `closed` has them wait."""

    error: Exception | None = None
    pictures: list[bytes] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)
    closed: asyncio.Event | None = None
    inside: int = 0

    async def compress(self, data: bytes, specs: Sequence[Spec], *, max_pixels_now: int) -> Compressed:
        self.pictures.append(data)
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


def codec_pool(
    *,
    threads: int = 1,
    limits: CodecLimits = CodecLimits(max_pixels=900_000),  # noqa: B008  # frozen
    quarantine: Quarantine | None = None,
    watchdog: Watchdog | None = None,
    on_overrun: Callable[[], None] = lambda: None,
) -> CodecPool:
    """As many pixels as the largest picture allowed has; a watchdog that is not given never barks."""
    return CodecPool(
        threads=threads,
        pixels=1,
        limits=limits,
        quarantine=quarantine or NotedQuarantine(),
        watchdog=watchdog or Watchdog(60),
        on_overrun=on_overrun,
    )

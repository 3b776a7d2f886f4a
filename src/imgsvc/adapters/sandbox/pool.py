"""The child processes in which images that may crash a worker are compressed."""

import asyncio
import signal
from collections.abc import Sequence
from typing import Any

from imgsvc.adapters.sandbox.child import SandboxLimits
from imgsvc.adapters.sandbox.child_pool import LINGER, Child, ChildDied, ChildPool, InvalidMessage
from imgsvc.adapters.sandbox.serve import CRASHES, OUT_OF_MEMORY
from imgsvc.domain.imaging.compress import CodecLimits, Compressed, Rendition, ReservationTooSmall
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import CodecError, DecodeAbandoned, SandboxKilled, WorkerCrash
from imgsvc.logs import get_logger
from imgsvc.services.codec.watchdog import Watchdog

log = get_logger(__name__)

_CODEC_ERRORS = {error.code: error for error in CodecError.__subclasses__()}

Result = Compressed | ReservationTooSmall | CodecError
"""The result of a child, or the error to raise as if it had occurred here."""


class SandboxPool(ChildPool):
    """The port `Sandbox`. A child serves one image at a time, waits for the next one, and ends after `linger` seconds.

    A child has `memory` bytes of address space. An image is blamed for what its child did, such as a crash, but not for
    what was done to the child, such as a signal from outside.
    """

    def __init__(self, *, limits: CodecLimits, memory: int, watchdog: Watchdog, linger: float = LINGER) -> None:
        sandbox_limits = SandboxLimits(memory, watchdog.seconds, limits)
        super().__init__(
            "imgsvc.adapters.sandbox.child",
            sandbox_limits.dump(),
            max_message=memory,
            watchdog=watchdog,
            linger=linger,
        )

    async def compress(self, data: bytes, specs: Sequence[Spec], *, reserved_pixels: int) -> Compressed:
        request = {"specs": [spec.model_dump(mode="json") for spec in specs], "reserved_pixels": reserved_pixels}

        async def work(child: Child) -> Result:
            try:
                return await self.call(child, request, data, parse=_parse_result)
            except asyncio.CancelledError:
                if child.started:
                    raise DecodeAbandoned from None
                raise
            except InvalidMessage as exc:
                raise WorkerCrash from exc.__cause__
            except ChildDied as exc:
                raise DecodeAbandoned if self.closing else _crash_error(child) from exc.__cause__

        result = await self.with_child(work)
        try:
            if isinstance(result, Exception):
                raise result
            return result
        finally:
            del result  # a raised exception refers to this frame: this breaks the cycle that would keep the image


def _crash_error(child: Child) -> WorkerCrash:
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

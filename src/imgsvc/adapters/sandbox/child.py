"""The child process of the sandbox: compresses one image after another for the worker that started it.

It sends a message before it opens an image: if it dies after that, the image is the cause. It does not try to survive:
any failure ends it, and the worker starts another child.
"""

import json
import math
import os
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from imgsvc.adapters.sandbox.framing import frame, read_frame
from imgsvc.domain.imaging.compress import CodecLimits, Compressed, ReservationTooSmall, compress, prepare_pillow
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import CodecError
from imgsvc.process.child_process import end_with_parent

OUT_OF_MEMORY = 3
"""Exit code when an image needs more memory than the child may have."""
CRASHES = frozenset(
    -number
    for number in (
        signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS,
        signal.SIGXCPU,
    )
)  # fmt: skip
"""Exit codes of a process that crashed. Any other signal was sent from outside: by a service manager that stops the
whole group, by the kernel when the machine is out of memory, or by an operator."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Limits of a child: address space in bytes, CPU seconds per image, and the limits of the codec."""

    memory: int
    seconds: float
    codec: CodecLimits

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> "SandboxLimits":
        values = json.loads(text)
        codec = values.pop("codec")
        return cls(**values, codec=CodecLimits(**codec | {"formats": tuple(codec["formats"])}))


def main() -> None:
    limits = SandboxLimits.load(sys.argv[1])
    end_with_parent()
    # Decoders print to standard output, which carries the messages to the worker.
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    prepare_pillow(limits.codec)
    _limit(resource.RLIMIT_AS, limits.memory)
    _limit(resource.RLIMIT_CORE, 0)  # a core file would be a gigabyte with a user's image in it
    with suppress(EOFError):  # the worker has ended, or no longer needs this process
        while True:
            _serve_one(sys.stdin.buffer, responses, limits)


def _serve_one(requests: BinaryIO, responses: BinaryIO, limits: SandboxLimits) -> None:
    request, data = read_frame(requests)
    _send(responses, {"started": True})
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + limits.seconds))
    try:
        specs = [Spec.model_validate(spec) for spec in request["specs"]]
        compressed = compress(data, specs, limits.codec, reserved_pixels=request["reserved_pixels"])
    except ReservationTooSmall as more:
        _send(responses, {"more_pixels": more.pixels})
    except CodecError as error:
        if isinstance(error.__cause__, MemoryError):
            os._exit(OUT_OF_MEMORY)  # a normal exit would close the pipe before the exit code is set
        _send(responses, {"error": error.code, "detail": error.detail})
    else:
        _send(responses, _describe(compressed), *(rendition.data for rendition in compressed.renditions))


def _describe(compressed: Compressed) -> dict[str, Any]:
    """Return everything except the bytes of the renditions, which follow in the same order."""
    fields = ("format", "width", "height", "action")
    return {
        "input_format": compressed.input_format,
        "width": compressed.width,
        "height": compressed.height,
        "renditions": [
            {"bytes": len(rendition.data), **{name: getattr(rendition, name) for name in fields}}
            for rendition in compressed.renditions
        ],
    }


def _send(responses: BinaryIO, head: dict[str, Any], *bodies: bytes) -> None:
    responses.write(frame(head, sum(map(len, bodies))))
    responses.writelines(bodies)
    responses.flush()


def _limit(which: int, amount: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard not in (resource.RLIM_INFINITY, -1):
        amount = min(amount, hard)
    with suppress(ValueError):  # macOS has no limit on address space
        resource.setrlimit(which, (amount, hard))


if __name__ == "__main__":
    main()

"""The process in quarantine: compresses one image after the other for the worker that started it.

It says that it begins before it looks at an image: if it dies after that, the image is to blame. It does not try to
survive: whatever goes wrong ends it, and its worker starts another.
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
"""Its exit code when an image needs more memory than it has."""
CRASHES = frozenset(
    -number
    for number in (
        signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS,
        signal.SIGXCPU,
    )
)  # fmt: skip
"""Exit codes of a process that brought itself down. Any other signal was sent: by a service manager that ends the whole
group, by the kernel when the machine is out of memory, by an operator."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What a process in quarantine may take: bytes of address space, and seconds of the processor for an image."""

    memory: int
    seconds: float
    limits: CodecLimits

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> "SandboxLimits":
        values = json.loads(text)
        limits = values.pop("limits")
        return cls(**values, limits=CodecLimits(**limits | {"formats": tuple(limits["formats"])}))


def main() -> None:
    terms = SandboxLimits.load(sys.argv[1])
    end_with_parent()
    # Decoders print to standard output, which is our worker's: what they say there would be no message.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    prepare_pillow(terms.limits)
    _limit(resource.RLIMIT_AS, terms.memory)
    _limit(resource.RLIMIT_CORE, 0)  # a gigabyte of somebody's image
    with suppress(EOFError):  # the worker has gone, or needs us no more
        while True:
            _serve_one(sys.stdin.buffer, answers, terms)


def _serve_one(requests: BinaryIO, answers: BinaryIO, terms: SandboxLimits) -> None:
    request, data = read_frame(requests)
    _send(answers, {"begun": True})
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + terms.seconds))
    try:
        specs = [Spec.model_validate(spec) for spec in request["specs"]]
        compressed = compress(data, specs, terms.limits, max_pixels_now=request["max_pixels_now"])
    except ReservationTooSmall as more:
        _send(answers, {"more_pixels": more.pixels})
    except CodecError as error:
        if isinstance(error.__cause__, MemoryError):
            os._exit(OUT_OF_MEMORY)  # at once: a usual end lets go of the pipe before it has its exit code
        _send(answers, {"error": error.code, "detail": error.detail})
    else:
        _send(answers, _described(compressed), *(rendition.data for rendition in compressed.renditions))


def _described(compressed: Compressed) -> dict[str, Any]:
    """Everything but the renditions' bytes, which follow in their order."""
    facts = ("format", "width", "height", "action")
    return {
        "input_format": compressed.input_format,
        "width": compressed.width,
        "height": compressed.height,
        "renditions": [
            {"bytes": len(rendition.data), **{name: getattr(rendition, name) for name in facts}}
            for rendition in compressed.renditions
        ],
    }


def _send(answers: BinaryIO, head: dict[str, Any], *bodies: bytes) -> None:
    answers.write(frame(head, sum(map(len, bodies))))
    answers.writelines(bodies)
    answers.flush()


def _limit(which: int, amount: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard not in (resource.RLIM_INFINITY, -1):
        amount = min(amount, hard)
    with suppress(ValueError):  # macOS knows no limit of the address space
        resource.setrlimit(which, (amount, hard))


if __name__ == "__main__":
    main()

"""The child process that compresses images."""

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from imgsvc.adapters.sandbox.serve import Respond, out_of_memory, serve
from imgsvc.domain.imaging.compress import CodecLimits, Compressed, ReservationTooSmall, compress, prepare_pillow
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import CodecError


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
    prepare_pillow(limits.codec)

    def work(request: dict[str, Any], data: bytes, respond: Respond) -> None:
        _compress(request, data, respond, limits.codec)

    serve(work, memory=limits.memory, seconds=limits.seconds)


def _compress(request: dict[str, Any], data: bytes, respond: Respond, limits: CodecLimits) -> None:
    try:
        specs = [Spec.model_validate(spec) for spec in request["specs"]]
        compressed = compress(data, specs, limits, reserved_pixels=request["reserved_pixels"])
    except ReservationTooSmall as more:
        respond({"more_pixels": more.pixels})
    except CodecError as error:
        if isinstance(error.__cause__, MemoryError):
            out_of_memory()
        respond({"error": error.code, "detail": error.detail})
    else:
        respond(_describe(compressed), *(rendition.data for rendition in compressed.renditions))


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


if __name__ == "__main__":
    main()

"""The child process that reads and writes catalogues in formats other than CSV."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imgsvc.adapters.sandbox.framing import read_frame
from imgsvc.adapters.sandbox.serve import Respond, out_of_memory, serve
from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.formats.convert import Conversion, convert
from imgsvc.domain.manifest.formats.report_shape import ReportShape
from imgsvc.domain.manifest.formats.table import BY_NAME
from imgsvc.domain.manifest.model import ManifestLimits
from imgsvc.errors import LimitExceeded, Refusal


def main() -> None:
    limits = json.loads(sys.argv[1])
    serve(_work, memory=limits["memory"], seconds=limits["seconds"])


def _work(request: dict[str, Any], data: bytes, respond: Respond) -> None:
    try:
        response = _read(request, data) if "conversion" in request else _write(request)
    except MemoryError:
        out_of_memory()
    except Refusal as refusal:
        problems = [asdict(problem) for problem in refusal.problems]
        kind = "limit" if isinstance(refusal, LimitExceeded) else "manifest"
        respond({"refused": kind, "detail": refusal.detail, "problems": problems, "total": refusal.problems_total})
    except OSError as exc:  # the disk is full; whatever is wrong with a file has become a refusal
        respond({"disk": str(exc)})
    else:
        respond(response)


def _read(request: dict[str, Any], data: bytes) -> dict[str, Any]:
    fields = request["conversion"]
    conversion = Conversion(**fields | {"limits": ManifestLimits(**fields["limits"])})
    with Path(request["target"]).open("wb") as target:
        converted = convert(data, conversion, target)
    return asdict(converted) | {"file_format": converted.file_format.model_dump(mode="json")}


def _write(request: dict[str, Any]) -> dict[str, Any]:
    """Write the pages of rows that follow the request, up to an empty one."""
    fields = request["shape"]
    shape = ReportShape(**fields | {"file_format": FileFormat.model_validate(fields["file_format"])})
    write_file = BY_NAME[request["format"]].write_file
    assert write_file is not None  # noqa: S101  # only such formats are sent
    pages = iter(lambda: read_frame(sys.stdin.buffer)[1], b"")
    try:
        with Path(request["target"]).open("wb") as target:
            writer = write_file(target, shape)
            for page in pages:
                writer.rows(json.loads(page))
            writer.close()
    finally:  # whatever happens, the next message must be a request
        for _ in pages:
            continue
    return {}


if __name__ == "__main__":
    main()

"""Reads a CSV: converts its bytes to products and distinct assets, or reports every problem."""

from dataclasses import replace

from imgsvc.domain.manifest.builder import ManifestBuilder
from imgsvc.domain.manifest.columns import Columns
from imgsvc.domain.manifest.header import find_layout
from imgsvc.domain.manifest.model import DEFAULT_LIMITS, Manifest, ManifestLimits, ManifestProduct, OnInvalid
from imgsvc.domain.manifest.records import open_source, records, refused
from imgsvc.domain.manifest.source_text import keep_text, lines_before
from imgsvc.errors import InvalidManifest

__all__ = ["DEFAULT_LIMITS", "Columns", "Manifest", "ManifestLimits", "ManifestProduct", "OnInvalid", "read_manifest"]


def read_manifest(
    data: bytes,
    *,
    columns: Columns | None = None,
    on_invalid: OnInvalid = "reject",
    limits: ManifestLimits = DEFAULT_LIMITS,
    keeps_text: bool = False,
) -> Manifest:
    """Read an uploaded CSV; CPU-bound, 2 to 3 s for 200,000 rows: call it from a worker thread.

    With `keeps_text`, also keep how it is written, so that its output can be the same file with other URLs.

    Raises:
        InvalidManifest: the file has problems; counts all of them and lists the first 100.
        LimitExceeded: the file exceeds a limit; reports the first one.
    """
    source = open_source(data)
    layout = find_layout(source, columns)
    builder = ManifestBuilder(layout, limits, reject=on_invalid == "reject")
    rows = records(source, layout.delimiter)
    next(line for line, _ in rows if line == layout.line)  # the header
    try:
        for line, cells in rows:
            builder.add(line, cells)
    except InvalidManifest as exc:  # the rest of the file cannot be read
        builder.problems.add(exc.problems[0], first=True)
    else:
        builder.check_not_empty("The CSV has a header but no rows.")
    if builder.problems.total:
        raise refused(builder.problems.listed, builder.problems.total)
    manifest = builder.manifest(source.encoding)
    if keeps_text:
        return keep_text(manifest, source, header_line=layout.line, lines=builder.lines)
    if layout.is_template:
        above = {"before": lines_before(source, layout.line)}
        return replace(manifest, file_format=manifest.file_format.model_copy(update=above))
    return manifest

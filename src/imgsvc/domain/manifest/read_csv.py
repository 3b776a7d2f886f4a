"""Reads a catalogue: converts a CSV, or the rows of another format, to products and distinct assets, or reports every
problem."""

from dataclasses import replace

from imgsvc.domain.manifest.builder import ManifestBuilder
from imgsvc.domain.manifest.columns import Columns
from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.header import find_layout
from imgsvc.domain.manifest.model import DEFAULT_LIMITS, Manifest, ManifestLimits, ManifestProduct, OnInvalid
from imgsvc.domain.manifest.records import Source, open_source, records, refused
from imgsvc.domain.manifest.rows_file import RowsFile
from imgsvc.errors import InvalidManifest

__all__ = ["DEFAULT_LIMITS", "Columns", "Manifest", "ManifestLimits", "ManifestProduct", "OnInvalid", "read_manifest"]


def read_manifest(
    data: bytes | RowsFile,
    *,
    name: str = "csv",
    columns: Columns | None = None,
    on_invalid: OnInvalid = "reject",
    limits: ManifestLimits = DEFAULT_LIMITS,
) -> Manifest:
    """Read an uploaded CSV, or the rows of another format; CPU-bound, 2 to 3 s for 200,000 rows: call it from a thread.

    `name` is the format of the bytes: `csv` or `tsv`.

    Raises:
        InvalidManifest: the file has problems; counts all of them and lists the first 100.
        LimitExceeded: the file exceeds a limit; reports the first one.
    """
    source = data if isinstance(data, RowsFile) else open_source(data)
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
        kind = "CSV" if isinstance(source, Source) else "file"
        builder.check_not_empty(f"The {kind} has a header but no rows.")
    if builder.problems.total:
        raise refused(builder.problems.listed, builder.problems.total, unit=source.unit)
    manifest = builder.manifest(source.encoding)
    facts = source.file_format if isinstance(source, RowsFile) else _facts(source, name, layout.delimiter)
    return replace(
        manifest, file_format=manifest.file_format.model_copy(update=facts.model_dump(exclude_defaults=True))
    )


def _facts(source: Source, name: str, delimiter: str) -> FileFormat:
    return FileFormat(format=name, bare_quotes=source.has_bare_quotes and delimiter == "\t")

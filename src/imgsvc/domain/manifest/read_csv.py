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
from imgsvc.domain.manifest.source_text import keep_text, lines_before
from imgsvc.errors import InvalidManifest

__all__ = ["DEFAULT_LIMITS", "Columns", "Manifest", "ManifestLimits", "ManifestProduct", "OnInvalid", "read_manifest"]


def read_manifest(
    data: bytes | RowsFile,
    *,
    name: str = "csv",
    columns: Columns | None = None,
    on_invalid: OnInvalid = "reject",
    limits: ManifestLimits = DEFAULT_LIMITS,
    keeps_text: bool = False,
) -> Manifest:
    """Read an uploaded CSV, or the rows of another format; CPU-bound, 2 to 3 s for 200,000 rows: call it from a thread.

    `name` is the format of the bytes: `csv` or `tsv`.

    With `keeps_text`, also keep how it is written, so that its output can be the same file with other URLs.

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
    if isinstance(source, RowsFile):
        return _with_facts(manifest, source.file_format)
    bare = source.has_bare_quotes and layout.delimiter == "\t"
    manifest = _with_facts(manifest, FileFormat(format=name, bare_quotes=bare))
    if keeps_text:
        return keep_text(manifest, source, header_line=layout.line, lines=builder.lines)
    if layout.is_template:
        return _with_facts(manifest, FileFormat(before=lines_before(source, layout.line)))
    return manifest


def _with_facts(manifest: Manifest, facts: FileFormat) -> Manifest:
    """Add the members of `facts` that are not the defaults."""
    update = facts.model_dump(exclude_defaults=True)
    return replace(manifest, file_format=manifest.file_format.model_copy(update=update))

"""Unpacks gzip and ZIP files, without ever holding more than an upload may have."""

import gzip
import io
import zlib
from pathlib import PurePosixPath

from imgsvc.domain.manifest.formats.container import Container, damaged
from imgsvc.domain.manifest.records import refused
from imgsvc.domain.manifest.rows_file import content_too_large
from imgsvc.errors import Problem

_CHUNK = 2**20
_IGNORED = ("__MACOSX/", ".DS_Store", "Thumbs.db")


def gunzip(data: bytes, *, max_bytes: int) -> bytes:
    """Return the content of a gzip file, which may consist of several members (RFC 1952 §2.2).

    Raises:
        InvalidManifest: `damaged_file`.
        LimitExceeded: the content has more than `max_bytes`.
    """
    content = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            while chunk := file.read(_CHUNK):
                content += chunk
                if len(content) > max_bytes:
                    raise content_too_large(max_bytes)
    except (OSError, EOFError, zlib.error) as exc:
        raise damaged("The gzip file") from exc
    return bytes(content)


def only_table(container: Container, extensions: set[str], *, max_bytes: int) -> tuple[str, bytes]:
    """Return name and content of the only table in a ZIP: the file with one of `extensions`, or its only file.

    Raises:
        InvalidManifest: `no_table`, `several_tables`, `encrypted`, `damaged_file`.
        LimitExceeded: the content has more than `max_bytes`.
    """
    files = [
        name for name in container.members if not name.endswith("/") and not any(part in name for part in _IGNORED)
    ]
    tables = [name for name in files if PurePosixPath(name).suffix.lower() in extensions] or files
    if len(tables) != 1:
        listed = ", ".join(f"`{name}`" for name in tables)[:500] or "none"
        code = "several_tables" if tables else "no_table"
        detail = f"The ZIP must contain one catalogue; it has {len(tables):,} files that could be it: {listed}."
        raise refused([Problem(code, detail if tables else "The ZIP is empty.")])
    return tables[0], container.read(tables[0], max_bytes=max_bytes)

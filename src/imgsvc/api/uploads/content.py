"""The content of an uploaded file: the file itself if it is a CSV, otherwise what a sandbox process made of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from starlette.datastructures import UploadFile

from imgsvc.api.uploads.receive import UploadBudget
from imgsvc.db.engine import Sessions
from imgsvc.domain.addresses import Network
from imgsvc.domain.manifest.formats.convert import Conversion, no_sheets
from imgsvc.domain.manifest.formats.table import detect, is_packed
from imgsvc.domain.manifest.model import ManifestLimits
from imgsvc.domain.manifest.records import refused
from imgsvc.domain.manifest.rows_file import RowsFile
from imgsvc.services.clock import Clock
from imgsvc.services.intake.convert_file import FileConverter, temporary_file
from imgsvc.services.intake.fetch_catalogue import CatalogueFetcher
from imgsvc.services.intake.upload import Upload

_HEAD = 4_096
"""Bytes that decide the format."""


@dataclass(frozen=True, slots=True)
class UploadParts:
    """The parts of the service that an upload goes through, and its limits."""

    budget: UploadBudget
    converter: FileConverter
    fetcher: CatalogueFetcher
    sessions: Sessions
    clock: Clock
    limits: ManifestLimits
    max_bytes: int
    max_pixels: int
    allowed_networks: Sequence[Network]


@dataclass(frozen=True, slots=True)
class Declared:
    """The sender's description of a file."""

    media_type: str
    filename: str


@dataclass(frozen=True, slots=True)
class Content:
    """Text in the format `name`, in the upload itself or in the file `text`, or rows; `size` is that on the disk."""

    name: str
    text: Path | None = None
    rows: RowsFile | None = None
    size: int = 0

    def read(self) -> bytes | RowsFile | None:
        """Return the text or the rows; None: the upload itself is the text."""
        return self.text.read_bytes() if self.text else self.rows


@asynccontextmanager
async def with_content(
    upload: Upload, file: UploadFile, declared: Declared, parts: UploadParts, *, api_key_id: str
) -> AsyncIterator[Upload]:
    """Yield `upload` with the content of `file`, which is in memory only within the context; raises as `read_content`.

    Its `source`, if there is one, gets the size.
    """
    async with read_content(file, declared, parts, sheet=upload.sheet, api_key_id=api_key_id) as content:
        size = (file.size or 0) + content.size
        with await parts.budget.reserve(api_key_id, size):
            source = upload.source and {**upload.source, "size": size}
            data, table = await file.read(), content.read()
            yield replace(upload, data=data, table=table, format=content.name, source=source)


@asynccontextmanager
async def read_content(
    file: UploadFile, declared: Declared, parts: UploadParts, *, sheet: str | None, api_key_id: str
) -> AsyncIterator[Content]:
    """Yield the content of `file`, which is at its beginning again.

    Raises:
        InvalidManifest, LimitExceeded: the file cannot be converted, or has no sheets.
        SandboxUnavailable: no process that converts the file can be started.
        StorageError: the disk is full or fails.
    """
    head = await file.read(_HEAD)
    await file.seek(0)
    kind = detect(head, media_type=declared.media_type, filename=declared.filename)
    if kind.is_text and not is_packed(head):
        if sheet is not None:
            raise refused([no_sheets(sheet)])
        yield Content(kind.name)
        return
    conversion = Conversion(parts.limits, parts.max_bytes, declared.media_type, declared.filename, sheet=sheet)
    with temporary_file() as path:
        with await parts.budget.reserve(api_key_id, file.size or 0):
            data = await file.read()
            converted = await parts.converter.convert(data, conversion, path, api_key_id=api_key_id)
            del data
        await file.seek(0)
        if isinstance(converted, RowsFile):
            yield Content(converted.file_format.format, rows=converted, size=converted.size)
        else:
            yield Content(converted.name, text=converted.path, size=converted.size)

"""The output of a batch in formats other than CSV: streamed as text, or written to a file by a process of its own."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TypeAlias

from imgsvc.db.engine import Sessions
from imgsvc.db.tables import Batch
from imgsvc.domain.manifest.formats.report_shape import ReportShape
from imgsvc.domain.manifest.formats.table import TableFormat
from imgsvc.errors import LimitExceeded
from imgsvc.services.access.links import Links
from imgsvc.services.intake.convert_file import temporary_file
from imgsvc.services.ports import TableConverter
from imgsvc.services.results.report import ReportOptions, output_pages, output_table
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow

SLOTS = 2
"""Files written at once; each takes a CPU."""
_CHUNK = 2**18
Pages: TypeAlias = AsyncIterator[Sequence[Sequence[str]]]


def check_rows(batch: Batch, kind: TableFormat) -> None:
    """Raise LimitExceeded if a file of this format cannot have all rows of the batch."""
    if kind.max_rows is not None and batch.product_count >= kind.max_rows:
        raise LimitExceeded(f"{kind.title} files have at most {kind.max_rows:,} rows; download output.csv instead.")


class ReportFiles:
    """Writes a few files at once; API keys take turns."""

    def __init__(self, converter: TableConverter) -> None:
        self._converter = converter
        self._slots = FairSemaphore(SLOTS)

    def stream(
        self, batch: Batch, kind: TableFormat, options: ReportOptions, *, sessions: Sessions, links: Links
    ) -> AsyncGenerator[bytes, None]:
        """Yield the output of `batch` in the format `kind`.

        Raises:
            NotFound: the batch has been deleted.
            LimitExceeded: writing the file took too much time or memory.
            SandboxUnavailable: no process that writes a file can be started.
            StorageError: the disk is full or fails.
        """
        table = output_table(batch, options)
        shape = ReportShape(
            table.layout.header, table.link_columns, table.file, len(batch.header), safe=options.safe, bom=options.bom
        )
        pages = output_pages(batch, table, sessions=sessions, links=links)
        return _text(kind, shape, pages) if kind.write_text else self._file(batch, kind, shape, pages)

    async def _file(
        self, batch: Batch, kind: TableFormat, shape: ReportShape, pages: Pages
    ) -> AsyncGenerator[bytes, None]:
        with temporary_file() as path:
            with await self._slots.acquire(Flow(batch.api_key_id, batch_id="")):
                await self._converter.write(kind.name, shape, pages, path)
            with path.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, _CHUNK):
                    yield chunk


async def _text(kind: TableFormat, shape: ReportShape, pages: Pages) -> AsyncGenerator[bytes, None]:
    assert kind.write_text is not None  # noqa: S101  # the caller has checked it
    writer = kind.write_text(shape)
    text = writer.begin()
    async for rows in pages:  # the first may raise: before any text
        yield (text + writer.rows(rows)).encode()
        text = ""
    yield (text + writer.end()).encode()

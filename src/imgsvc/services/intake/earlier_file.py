"""The file of an earlier batch, read again from its rows: the server of a catalogue said that it has not changed."""

import asyncio
from collections.abc import AsyncIterator

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches as queries
from imgsvc.db.queries import sources as source_queries
from imgsvc.db.tables import Batch
from imgsvc.domain.manifest.model import Manifest, ManifestLimits, ManifestProduct
from imgsvc.domain.manifest.urls import url_problem
from imgsvc.errors import Problem
from imgsvc.services.batches.read import file_format
from imgsvc.services.intake.source import Source
from imgsvc.services.intake.upload import KnownFile, Upload

VERSIONS = 10
"""Batches of a catalogue that are searched for one from the same source."""
_PRODUCTS = 250
"""Rows per read: with more, other requests wait for the event loop (services/batches/read)."""
_URLS = 2_000


async def find_earlier(
    upload: Upload, reading: str, *, api_key_id: str, sessions: Sessions
) -> tuple[str, Source] | None:
    """Return the id and the source of the newest batch whose file was fetched from the same URL and read alike."""
    if upload.refresh or not upload.catalogue:
        return None
    async with sessions.read() as session:
        versions = await source_queries.newest(session, api_key_id, upload.catalogue, limit=VERSIONS)
    for batch_id, stored in versions:
        source = Source.parse(stored) if stored else None
        if source and source.url == upload.source_url and source.reading == reading:
            return batch_id, source
    return None


async def read_known_file(
    batch_id: str, upload: Upload, *, limits: ManifestLimits, sessions: Sessions
) -> KnownFile | None:
    """Return the file of the batch, as reading it again with the same limits would; None: the batch was deleted."""
    async with sessions.read() as session:
        batch = await queries.get(session, batch_id)
    products = [product async for page in _products(batch_id, sessions) for product in page]
    urls = [url async for page in _urls(batch_id, sessions) for url in page]
    async with sessions.read() as session:
        is_complete = await queries.get(session, batch_id) is not None  # its rows are removed after it is hidden
    if batch is None or not is_complete:
        return None
    invalid = await asyncio.to_thread(_invalid, urls, limits) if upload.on_invalid == "skip" else {}
    return KnownFile(_manifest(batch, products, urls, invalid), batch.manifest_sha256, batch.filename)


async def _products(batch_id: str, sessions: Sessions) -> AsyncIterator[list[ManifestProduct]]:
    after = -1
    while True:
        async with sessions.read() as session:
            rows = await queries.products_page(session, batch_id, after=after, limit=_PRODUCTS)
        if not rows:
            return
        after = rows[-1].position
        yield [
            ManifestProduct(
                row.serial_number,
                row.product_name,
                tuple(row.cells),
                tuple(row.slots),
                None if row.slot_counts is None else tuple(row.slot_counts),
                row.source,
            )
            for row in rows
        ]


async def _urls(batch_id: str, sessions: Sessions) -> AsyncIterator[list[str]]:
    after = -1
    while True:
        async with sessions.read() as session:
            rows = await source_queries.urls_page(session, batch_id, after=after, limit=_URLS)
        if not rows:
            return
        after = rows[-1][0]
        yield [url for _, url in rows]


def _invalid(urls: list[str], limits: ManifestLimits) -> dict[int, str]:
    """Return the errors of the invalid URLs; those of the rows may be of a fetch, or reset by a retry."""
    problems = ((position, url_problem(url, limits)) for position, url in enumerate(urls))
    return {position: problem[1] for position, problem in problems if problem}


def _manifest(batch: Batch, products: list[ManifestProduct], urls: list[str], invalid: dict[int, str]) -> Manifest:
    return Manifest(
        encoding=batch.encoding,
        delimiter=batch.delimiter,
        file_format=file_format(batch),
        header=tuple(batch.header),
        products=products,
        assets=urls,
        invalid=invalid,
        url_count=batch.url_count,
        warnings=[Problem(**warning) for warning in batch.warnings],
        warnings_total=batch.warnings_total,
    )

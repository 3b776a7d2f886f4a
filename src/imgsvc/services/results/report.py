"""Streams output.csv and failures.csv, a page of products at a time."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from imgsvc.db.engine import Sessions
from imgsvc.db.queries.assets import SlotAsset
from imgsvc.db.tables import Batch
from imgsvc.domain.manifest.csv_text import render_rows
from imgsvc.domain.manifest.model import by_column
from imgsvc.domain.manifest.output import OutputTable
from imgsvc.domain.manifest.report import ReportLayout, Slot, failure_row, failures_layout
from imgsvc.domain.status import AssetStatus
from imgsvc.services.access.links import Links
from imgsvc.services.batches.changes import change_of, earlier_version, gone_pages, has_changes
from imgsvc.services.batches.read import ProductView, file_format, product_pages

WITHOUT_IMAGE = frozenset({AssetStatus.FAILED, AssetStatus.CANCELLED})


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """Options of a report.

    `extended`: add columns for status, error and sizes. For spreadsheets: `safe` keeps cells from running as formulas,
    `bom` adds a byte order mark, which identifies UTF-8.
    """

    extended: bool = False
    safe: bool = False
    bom: bool = False

    @property
    def start(self) -> str:
        return "\ufeff" if self.bom else ""


def output_table(batch: Batch, options: ReportOptions | None = None) -> OutputTable:
    """Return the table of the upload with the output columns, or with the new URLs in place of the old ones."""
    names, extended = [str(spec["name"]) for spec in batch.specs], options is not None and options.extended
    return OutputTable(
        batch.header, file_format(batch), renditions=names, extended=extended, compared=has_changes(batch)
    )


def output_row(view: ProductView, table: OutputTable, links: Links, *, change: str = "") -> Sequence[str]:
    """Return the row of a product in the output."""
    slots = [_slot(asset, table.renditions, links, on_failed=table.file.on_failed) for asset in view.assets]
    product = view.product
    return table.row(product.cells, slots, counts=product.slot_counts, source=product.source, change=change)


async def output_pages(
    batch: Batch, table: OutputTable, *, sessions: Sessions, links: Links, only_changes: bool = False
) -> AsyncIterator[list[Sequence[str]]]:
    """Yield the rows of the output, a page at a time; `only_changes`: those that are new or changed.

    If the changes are shown, the rows that only the version before has follow.
    """
    marked = only_changes and earlier_version(batch) is not None
    async for page in product_pages(batch.id, sessions=sessions, marked=marked):
        yield [output_row(view, table, links, change=change_of(batch, view.product) or "") for view in page]
    if table.has_changes:
        async for gone in gone_pages(batch.id, sessions=sessions):
            yield [table.gone_row(cells) for cells in gone]


async def output_csv(
    batch: Batch, options: ReportOptions, *, sessions: Sessions, links: Links, only_changes: bool = False
) -> AsyncIterator[str]:
    """Yield the text of the output as CSV; `only_changes`: with the rows that are new or changed."""
    table = output_table(batch, options)
    yield table.start(bom=options.bom) + table.text([table.header()], batch.delimiter, safe=options.safe)
    async for rows in output_pages(batch, table, sessions=sessions, links=links, only_changes=only_changes):
        yield table.text(rows, batch.delimiter, safe=options.safe)


def _slot(asset: SlotAsset, names: Sequence[str], links: Links, *, on_failed: str) -> Slot:
    urls = tuple(output_url(asset, name, links) or "" for name in names)
    sizes = [entry["bytes"] for entry in asset.renditions or () if entry["name"] == names[0]]
    done = asset.status == AssetStatus.SUCCEEDED
    fallbacks = {"empty": "", "original": asset.origin_url}
    return Slot(
        urls=urls if any(urls) else (),
        status=asset.status,
        error=asset.error_code,
        input_bytes=asset.input_bytes if done else None,
        output_bytes=sizes[0] if done and sizes else None,
        fallback=fallbacks.get(on_failed, on_failed),
    )


async def failures_csv(batch: Batch, options: ReportOptions, *, sessions: Sessions) -> AsyncIterator[str]:
    """Yield the rows with failed or cancelled images, with those URLs only and their errors, ready for re-upload."""
    layout, url_columns = failures_layout(batch.header), file_format(batch).url_columns
    yield options.start + render_rows([layout.header], batch.delimiter, safe=options.safe)
    async for page in product_pages(batch.id, sessions=sessions):
        rows = (_failure_row(layout, view, url_columns) for view in page)
        if text := render_rows(filter(None, rows), batch.delimiter, safe=options.safe):
            yield text


def _failure_row(layout: ReportLayout, view: ProductView, url_columns: Sequence[int]) -> list[str] | None:
    """Return the row of a product in failures.csv; None if it has no failed image."""
    by_index = zip(url_columns, by_column(view.assets, view.product.slot_counts), strict=True)
    failed = {index: [asset for asset in assets if asset.status in WITHOUT_IMAGE] for index, assets in by_index}
    errors = [f"{asset.error_code}: {asset.error_detail}" for assets in failed.values() for asset in assets]
    urls = {index: [asset.origin_url for asset in assets] for index, assets in failed.items()}
    return failure_row(layout, view.product.cells, urls=urls, errors=errors) if errors else None


def output_url(asset: SlotAsset, name: str, links: Links) -> str | None:
    """Return the URL of the rendition `name` of an asset; None if it has none."""
    if asset.status != AssetStatus.SUCCEEDED:
        return None
    return next((links.media(entry["key"]) for entry in asset.renditions or () if entry["name"] == name), None)

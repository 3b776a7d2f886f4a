"""The report: the CSV that goes back, a page at a time."""

from collections.abc import AsyncIterator, Sequence

from imgsvc.db.engine import Sessions
from imgsvc.db.queries.assets import SlotAsset
from imgsvc.db.tables import Batch
from imgsvc.domain.report import Slot, output_cells, output_layout, render_rows
from imgsvc.domain.status import AssetStatus
from imgsvc.services.batches import all_products
from imgsvc.services.links import Links


async def output_csv(batch: Batch, *, sessions: Sessions, links: Links) -> AsyncIterator[str]:
    """The uploaded CSV with the output columns, as text; slots without a rendition are empty."""
    names = [str(spec["name"]) for spec in batch.specs]
    layout = output_layout(batch.header, renditions=names)
    yield render_rows([layout.header], batch.delimiter)
    async for page in all_products(batch.id, sessions=sessions):
        rows = (
            layout.row(
                view.product.cells,
                output_cells([_slot(asset, names, links) for asset in view.assets], renditions=len(names)),
            )
            for view in page
        )
        yield render_rows(rows, batch.delimiter)


def _slot(asset: SlotAsset, names: Sequence[str], links: Links) -> Slot:
    urls = tuple(output_url(asset, name, links) or "" for name in names)
    return Slot(urls=urls if any(urls) else (), status=asset.status, error=asset.error_code)


def output_url(asset: SlotAsset, name: str, links: Links) -> str | None:
    """Where the rendition `name` of an asset is served; None when it has none."""
    if asset.status != AssetStatus.SUCCEEDED:
        return None
    return next((links.media(entry["key"]) for entry in asset.renditions or () if entry["name"] == name), None)

"""Streams checks.csv: what shops and other products say about each image, a page of products at a time."""

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from typing import Any

from imgsvc.db.engine import Sessions
from imgsvc.db.queries.assets import SlotAsset
from imgsvc.db.tables import Batch
from imgsvc.domain.manifest.csv_text import render_rows
from imgsvc.domain.remarks import Remark, repeat_remark, shop_remarks
from imgsvc.domain.repeats import Repeats
from imgsvc.domain.shop_rules import ImageFacts, Rule, rules_of
from imgsvc.domain.status import AssetStatus
from imgsvc.services.access.links import Links
from imgsvc.services.batches.read import ProductView, product_pages
from imgsvc.services.results.count_repeats import count_repeats
from imgsvc.services.results.report import ReportOptions, output_url

HEADER = (
    "Serial Number", "Product Name", "Input Image Url", "Output Image Url", "Check", "Detail", "Source", "Source Date",
)  # fmt: skip
MAX_FIRST_PRODUCT = 100
"""Characters of a serial number or name in a sentence."""


async def checks_csv(
    batch: Batch, shops: Collection[str], options: ReportOptions, *, sessions: Sessions, links: Links
) -> AsyncIterator[str]:
    """Yield the remarks on the first rendition of each image of each product, with the rules of `shops` (none: all).

    The batch is read twice: whether an image recurs is known only at the end.

    Raises:
        NotFound: the batch has been deleted.
    """
    yield options.start + render_rows([HEADER], batch.delimiter, safe=options.safe)
    repeats = await count_repeats(batch, sessions=sessions)
    checks = _Checks(repeats, rules_of(shops), str(batch.specs[0]["name"]), links)
    async for page in product_pages(batch.id, sessions=sessions):
        rows = (row for view in page for row in checks.rows(view))
        if text := render_rows(rows, batch.delimiter, safe=options.safe):
            yield text


class _Checks:
    """The checks of one report, which sees the rows of the upload in order."""

    def __init__(self, repeats: Repeats, rules: Sequence[Rule], main: str, links: Links) -> None:
        self._repeats, self._rules, self._main, self._links = repeats, rules, main, links
        self._product = -1
        self._serial = self._name = ""
        self._seen: set[int] = set()
        """The images of the current product, by content."""
        self._first_products: dict[int, str] = {}

    def rows(self, view: ProductView) -> Iterator[list[str]]:
        """Yield a row for each remark on an image that the current product did not have in a row above."""
        self._begin_row(view)
        for asset in view.assets:
            content = self._repeats.content_of(asset.position)
            if asset.status != AssetStatus.SUCCEEDED or content in self._seen:
                continue
            self._seen.add(content)
            product = (self._serial, self._name, asset.origin_url, output_url(asset, self._main, self._links) or "")
            for remark in self._remarks(asset, content):
                yield [*product, *remark]

    def _begin_row(self, view: ProductView) -> None:
        row, number = view.product, self._repeats.product_of(view.product.position)
        if number != self._product:
            self._product = number
            self._serial = self._name = ""
            self._seen.clear()
        self._serial, self._name = row.serial_number or self._serial, row.product_name or self._name

    def _remarks(self, asset: SlotAsset, content: int) -> Iterator[Remark]:
        rendition = next(entry for entry in asset.renditions or () if entry["name"] == self._main)
        yield from shop_remarks(_facts(rendition), _original(asset), self._rules)
        if repeat := self._repeats.repeat_of(content):
            name = (self._serial or self._name or "without a name")[:MAX_FIRST_PRODUCT]
            yield repeat_remark(repeat, self._first_products.setdefault(content, name))


def _facts(rendition: dict[str, Any]) -> ImageFacts:
    return ImageFacts(**{name: rendition[name] for name in ("format", "width", "height", "bytes")})


def _original(asset: SlotAsset) -> ImageFacts:
    """Return the facts of a succeeded asset's input."""
    return ImageFacts(
        format=asset.input_format or "", width=asset.width or 0, height=asset.height or 0, bytes=asset.input_bytes or 0
    )

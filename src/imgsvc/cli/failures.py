"""`imgsvc failures`: list the images that failed, and why."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from imgsvc.cli.connection import ApiKey, AsJson, BatchId, Url, check_writable, connect
from imgsvc.cli.console import console, print_json, print_line
from imgsvc.client import Product
from imgsvc.terminal.formatting import printable

_MAX_ROWS = 200
"""Maximum rows of the table; a terminal cannot usefully show more."""

Output = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False, callback=check_writable, help="Write the failed rows to a CSV, to correct and upload."
    ),
]


class Failure(BaseModel):
    """An image without a rendition, with its product."""

    serial_number: str
    product_name: str
    input_url: str
    code: str
    http_status: int | None
    detail: str


def failures(
    batch_id: BatchId, output: Output = None, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None
) -> None:
    """Show which images of a batch failed, and why; while it runs, those so far.

    Exit codes: 0 even if images failed; 1 there is no such batch, or the server does not respond.
    """
    with connect(url, api_key, as_json=as_json) as client:
        if output:
            client.download_failures(batch_id, output, partial=True)
        products = client.products(batch_id, status=("failed", "cancelled"))
        if as_json:
            print_json(list(_failures(products)))
        elif output:
            print_line(f"CSV: {output}")
        else:
            _show(list(islice(_failures(products), _MAX_ROWS + 1)))


def _show(found: list[Failure]) -> None:
    if not found:
        print_line("No image failed.")
        return
    console.print(_table(found[:_MAX_ROWS]), highlight=False)
    if len(found) > _MAX_ROWS:
        print_line("… and more: --output writes a CSV with all of them, --json prints them.")


def _failures(products: Iterable[Product]) -> Iterator[Failure]:
    for product in products:
        for asset in product.assets:
            if asset.error:
                yield Failure(
                    serial_number=product.serial_number,
                    product_name=product.product_name,
                    input_url=asset.input_url,
                    code=asset.error.code,
                    http_status=asset.error.http_status,
                    detail=asset.error.detail,
                )


def _table(found: Iterable[Failure]) -> Table:
    """Build the table; a product is named once, in the row of its first image."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("No.", "Product", "Code", "Image", "Reason"):
        table.add_column(heading, overflow="fold")
    previous: tuple[str, str] | None = None
    for failure in found:
        product = (failure.serial_number, failure.product_name)
        names = ("", "") if product == previous else product
        table.add_row(
            *(Text(printable(text)) for text in names),
            Text(printable(failure.code), style="red"),
            *(Text(printable(text)) for text in (failure.input_url, failure.detail)),
        )
        previous = product
    return table

"""`imgsvc failures`: what failed, and why."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from imgsvc.cli.console import console, say, say_json
from imgsvc.cli.server import ApiKey, AsJson, BatchId, Url, server, writable
from imgsvc.client import Product
from imgsvc.terminal.formatting import printable

_MAX_ROWS = 200
"""Of the table; a terminal shows no more anyway."""

Output = Annotated[
    Path | None,
    typer.Option(dir_okay=False, callback=writable, help="Write a CSV of the rows that failed: to mend and upload."),
]


class Failure(BaseModel):
    """An image of a product that has no rendition."""

    serial_number: str
    product_name: str
    input_url: str
    code: str
    http_status: int | None
    detail: str


def failures(
    batch_id: BatchId, output: Output = None, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None
) -> None:
    """Show which images of a batch failed, and why; also while it runs, then so far.

    Ends with 0 however many they are; 1 when there is no such batch or nobody answers.
    """
    with server(url, api_key, as_json=as_json) as client:
        if output:
            client.download_failures(batch_id, output, partial=True)
        products = client.products(batch_id, status=("failed", "cancelled"))
        if as_json:
            say_json(list(_failures(products)))
        elif output:
            say(f"CSV: {output}")
        else:
            _show(list(islice(_failures(products), _MAX_ROWS + 1)))


def _show(found: list[Failure]) -> None:
    if not found:
        say("No image failed.")
        return
    console.print(_table(found[:_MAX_ROWS]), highlight=False)
    if len(found) > _MAX_ROWS:
        say("… and more: --output writes a CSV with all of them, --json prints them.")


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
    """A product is named once, before its first image."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("No.", "Product", "Cause", "Image", "Meaning"):
        table.add_column(heading, overflow="fold")
    before: tuple[str, str] | None = None
    for failure in found:
        product = (failure.serial_number, failure.product_name)
        named = ("", "") if product == before else product
        table.add_row(
            *(Text(printable(text)) for text in named),
            Text(printable(failure.code), style="red"),
            *(Text(printable(text)) for text in (failure.input_url, failure.detail)),
        )
        before = product
    return table

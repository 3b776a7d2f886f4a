"""`imgsvc checks`: list what is to be improved in the images of a batch."""

import csv
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from imgsvc.cli.connection import ApiKey, AsJson, BatchId, Url, check_writable, connect
from imgsvc.cli.console import console, print_json, print_line
from imgsvc.terminal.formatting import printable

_MAX_ROWS = 200
"""Maximum rows of the table; a terminal cannot usefully show more."""

Output = Annotated[
    Path | None, typer.Option(dir_okay=False, callback=check_writable, help="Write the remarks to a CSV.")
]
Shop = Annotated[
    list[str] | None,
    typer.Option(metavar="SHOP", help="Only the rules of this shop: google, amazon, shopify or meta; repeatable."),
]


class Remark(BaseModel):
    """A row of checks.csv."""

    serial_number: str
    product_name: str
    input_image_url: str
    output_image_url: str
    check: str
    detail: str
    source: str
    source_date: str


def checks(
    batch_id: BatchId,
    shop: Shop = None,
    output: Output = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Show which images break rules of shops, recur in several products, or may be placeholders.

    Exit codes: 0 even if there are remarks; 1 there is no such batch or shop, or the server does not respond.
    """
    with connect(url, api_key, as_json=as_json) as client, TemporaryDirectory(prefix="imgsvc-") as folder:
        if output:
            client.download_checks(batch_id, output, shops=shop or (), partial=True)
        if output and not as_json:
            print_line(f"CSV: {output}")
            return
        path = Path(folder) / "checks.csv"
        client.download_checks(batch_id, path, shops=shop or (), partial=True)
        if as_json:
            print_json(list(_remarks(path)))
        else:
            _show(list(islice(_remarks(path), _MAX_ROWS + 1)))


def _remarks(path: Path) -> Iterator[Remark]:
    """Yield the rows of a downloaded report, whose delimiter is that of the upload."""
    with path.open(encoding="utf-8", newline="") as file:
        delimiter = file.readline().removeprefix("Serial Number")[0]
        for row in csv.reader(file, delimiter=delimiter):
            yield Remark(**dict(zip(Remark.model_fields, row, strict=False)))


def _show(found: list[Remark]) -> None:
    if not found:
        print_line("There are no remarks.")
        return
    console.print(_table(found[:_MAX_ROWS]), highlight=False)
    if len(found) > _MAX_ROWS:
        print_line("… and more: --output writes a CSV with all of them, --json prints them.")


def _table(found: Iterable[Remark]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("No.", "Product", "Check", "Image", "Remark"):
        table.add_column(heading, overflow="fold")
    for remark in found:
        cells = (remark.serial_number, remark.product_name, remark.check, remark.input_image_url, remark.detail)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table

"""The demo from end to end: draw a catalogue, start imgsvc, upload, follow, receive the webhook, show what came out."""

import secrets
from base64 import b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Empty
from urllib.parse import urlsplit

import httpx
from rich.console import Console
from rich.table import Table
from rich.text import Text
from standardwebhooks import Webhook, WebhookVerificationError

from imgsvc.client import Asset, Batch, Client, Product
from imgsvc.demo.catalogue import manifest, stock
from imgsvc.demo.origin import WEBHOOK, Event, Origin, serving
from imgsvc.demo.sheet import Failure, Pair, write_sheet
from imgsvc.demo.stack import running_stack
from imgsvc.errors import ImgsvcError
from imgsvc.terminal.formatting import saved, size
from imgsvc.terminal.progress import show_progress, summary

WEBHOOK_WITHIN = 30.0


class DemoFailed(ImgsvcError):
    """The service ran, and what the demo waited for did not come or was wrong."""

    code = "demo_failed"


def run_demo(console: Console, folder: Path) -> None:
    """Show everything on `console`; what comes out lies in the empty `folder`. Nothing is left running.

    Raises:
        StartupError: a part did not come up.
        DemoFailed: no webhook came, or one with a wrong signature.
        ClientError: the service did not do what it should.
    """
    secret = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
    with running_stack(folder.resolve() / "data", secret=secret, log=folder / "imgsvc.log") as stack:
        console.print("Drawing a catalogue, and starting imgsvc: API, worker, database, queue …")
        served = stock()
        stack.wait_until_ready()
        with serving(served) as origin, Client(stack.url) as client:
            csv = folder / "catalog.csv"
            csv.write_text(manifest(origin.url), encoding="utf-8", newline="")
            batch = client.submit(csv, webhook_url=f"{origin.url}{WEBHOOK}")
            _tell_upload(console, batch, origin)
            batch = show_progress(console, client, batch)
            console.print(summary(batch), highlight=False)
            _tell_webhook(console, origin, secret)
            products = list(client.products(batch))
            client.download_output(batch, folder / "output.csv")
            cards = list(_cards(products, folder))
    write_sheet(folder / "contact-sheet.html", cards, summary=summary(batch))
    console.print(_sizes(products))
    console.print("\nSome of them fail on purpose, as in every real catalogue; each says why:\n")
    console.print(_reasons(products), highlight=False)
    _tell_where(console, folder)


def _tell_upload(console: Console, batch: Batch, origin: Origin) -> None:
    counts = batch.counts
    console.print(
        f"Uploaded [bold]catalog.csv[/bold]: {counts.products} products, {counts.urls} image URLs "
        f"({counts.assets.total} different) on {origin.url}",
        highlight=False,
    )


def _tell_webhook(console: Console, origin: Origin, secret: str) -> None:
    try:
        event = origin.events.get(timeout=WEBHOOK_WITHIN)
    except Empty:
        raise DemoFailed(f"No webhook came within {WEBHOOK_WITHIN:g} s.") from None
    console.print(f"Webhook [bold]{verified_type(event, secret)}[/bold] received; its signature holds.\n")


def verified_type(event: Event, secret: str) -> str:
    """What a webhook tells of.

    Raises:
        DemoFailed: its signature does not hold.
    """
    try:
        body: dict[str, str] = Webhook(secret).verify(event.body, dict(event.headers))
    except WebhookVerificationError as error:
        raise DemoFailed(f"A webhook came, and its signature does not hold: {error}") from error
    return body["type"]


def _sizes(products: Iterable[Product]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("No.", "Product"):
        table.add_column(heading)
    for heading in ("Images", "Before", "After", "Saved"):
        table.add_column(heading, justify="right")
    for product in products:
        good = [asset for asset in product.assets if asset.output_url]
        images = Text(f"{len(good)} of {len(product.assets)}", style="" if len(good) == len(product.assets) else "red")
        before = sum(asset.input_bytes or 0 for asset in good)
        after = sum(asset.output_bytes or 0 for asset in good)
        gain = saved(before, after)
        table.add_row(product.serial_number, product.product_name, images, size(before), size(after), gain)
    return table


def _reasons(products: Iterable[Product]) -> Table:
    """A row for each image that could not be had."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Failed", "Cause", "Meaning"):
        table.add_column(heading)
    for product, asset in _slots(products):
        if asset.error:
            table.add_row(product.product_name, Text(asset.error.code, style="red"), asset.error.detail)
    return table


def _cards(products: Iterable[Product], folder: Path) -> Iterator[Pair | Failure]:
    """Each image before and after, written to two folders; a repeated URL once."""
    seen = set()
    with httpx.Client(trust_env=False, follow_redirects=True) as http:
        for product, asset in _slots(products):
            if asset.input_url in seen:
                continue
            seen.add(asset.input_url)
            if asset.error:
                yield Failure(product.product_name, asset.input_url, asset.error.code, asset.error.detail)
            elif asset.output_url:
                before = folder / "before" / Path(urlsplit(asset.input_url).path).name
                after = folder / "after" / Path(urlsplit(asset.output_url).path).name
                _write(before, http.get(asset.input_url).raise_for_status().content)
                _write(after, http.get(asset.output_url).raise_for_status().content)
                yield Pair(product.product_name, before, after, kept=asset.action == "kept_original")


def _slots(products: Iterable[Product]) -> Iterator[tuple[Product, Asset]]:
    return ((product, asset) for product in products for asset in product.assets)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def _tell_where(console: Console, folder: Path) -> None:
    console.print("\nLook at what came out:", style="bold")
    for name, what in (
        ("contact-sheet.html", "every image before and after; open it in a browser"),
        ("output.csv", "the catalogue with its new column"),
        ("before", "the images as they were"),
        ("after", "the images as they are now"),
    ):
        console.print(Text.assemble(f"  {folder / name}  ", (what, "dim")), soft_wrap=True)
    console.print("\nNow with your own: [bold]make up[/bold]", highlight=False)

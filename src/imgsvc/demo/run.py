"""The demo from end to end: start imgsvc, upload a sample catalogue, follow it, receive the webhook, show results."""

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
from imgsvc.demo.catalogue import manifest, responses
from imgsvc.demo.origin import WEBHOOK, Event, Origin, serving
from imgsvc.demo.sheet import Failure, Pair, write_sheet
from imgsvc.demo.stack import running_stack
from imgsvc.errors import ImgsvcError
from imgsvc.terminal.formatting import saved, size
from imgsvc.terminal.progress import show_progress, summary

WEBHOOK_TIMEOUT = 30.0
"""Seconds from the end of the batch until the webhook must have arrived."""


class DemoFailed(ImgsvcError):
    """A service that ran, but sent no webhook or an invalid one."""

    code = "demo_failed"


def run_demo(console: Console, folder: Path) -> None:
    """Run the demo: print to `console`, write the results to the empty `folder`, stop everything at the end.

    Raises:
        StartupError: imgsvc did not start.
        DemoFailed: no webhook arrived, or its signature was invalid.
        ClientError: a request to the service failed.
    """
    secret = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
    with running_stack(folder.resolve() / "data", secret=secret, log=folder / "imgsvc.log") as stack:
        console.print("Starting imgsvc: API, worker, database, queue …")
        stack.wait_until_ready()
        with serving(responses()) as origin, Client(stack.url) as client:
            csv = folder / "catalog.csv"
            csv.write_text(manifest(origin.url), encoding="utf-8", newline="")
            batch = client.submit(csv, webhook_url=f"{origin.url}{WEBHOOK}")
            _print_upload(console, batch, origin)
            batch = show_progress(console, client, batch)
            console.print(summary(batch), highlight=False)
            _print_webhook(console, origin, secret)
            products = list(client.products(batch))
            client.download_output(batch, folder / "output.csv")
            cards = list(_cards(products, folder))
    write_sheet(folder / "contact-sheet.html", cards, summary=summary(batch))
    console.print(_size_table(products))
    console.print("\nSome images fail on purpose, as in any real catalogue:\n")
    console.print(_failure_table(products), highlight=False)
    _print_results(console, folder)


def _print_upload(console: Console, batch: Batch, origin: Origin) -> None:
    counts = batch.counts
    console.print(
        f"Uploaded [bold]catalog.csv[/bold]: {counts.products} products, {counts.urls} image URLs "
        f"({counts.assets.total} distinct) on {origin.url}",
        highlight=False,
    )


def _print_webhook(console: Console, origin: Origin, secret: str) -> None:
    try:
        event = origin.events.get(timeout=WEBHOOK_TIMEOUT)
    except Empty:
        raise DemoFailed(f"No webhook arrived within {WEBHOOK_TIMEOUT:g} s.") from None
    console.print(f"Webhook [bold]{verified_type(event, secret)}[/bold] received; its signature is valid.\n")


def verified_type(event: Event, secret: str) -> str:
    """Verify a webhook's signature and return its event type.

    Raises:
        DemoFailed: the signature is invalid.
    """
    try:
        body: dict[str, str] = Webhook(secret).verify(event.body, dict(event.headers))
    except WebhookVerificationError as error:
        raise DemoFailed(f"A webhook arrived with an invalid signature: {error}") from error
    return body["type"]


def _size_table(products: Iterable[Product]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("No.", "Product"):
        table.add_column(heading)
    for heading in ("Images", "Before", "After", "Saved"):
        table.add_column(heading, justify="right")
    for product in products:
        compressed = [asset for asset in product.assets if asset.output_url]
        style = "" if len(compressed) == len(product.assets) else "red"
        images = Text(f"{len(compressed)} of {len(product.assets)}", style)
        before = sum(asset.input_bytes or 0 for asset in compressed)
        after = sum(asset.output_bytes or 0 for asset in compressed)
        gain = saved(before, after)
        table.add_row(product.serial_number, product.product_name, images, size(before), size(after), gain)
    return table


def _failure_table(products: Iterable[Product]) -> Table:
    """Return a table with a row for each failed image."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Failed", "Cause", "Meaning"):
        table.add_column(heading)
    for product, asset in _slots(products):
        if asset.error:
            table.add_row(product.product_name, Text(asset.error.code, style="red"), asset.error.detail)
    return table


def _cards(products: Iterable[Product], folder: Path) -> Iterator[Pair | Failure]:
    """Yield a card for each image URL, once; write the images to `before/` and `after/`."""
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


def _print_results(console: Console, folder: Path) -> None:
    console.print("\nResults:", style="bold")
    for name, description in (
        ("contact-sheet.html", "every image before and after; open it in a browser"),
        ("output.csv", "the catalogue with the URLs of the compressed images"),
        ("before", "the original images"),
        ("after", "the compressed images"),
    ):
        console.print(Text.assemble(f"  {folder / name}  ", (description, "dim")), soft_wrap=True)
    console.print("\nNext, with your own catalogue: [bold]make up[/bold]", highlight=False)

"""The demo's catalogue: its products, and what the origin answers for each of their images, also the broken ones.

A path begins with a slash and gets the origin's base URL in front; anything else stands in the CSV as it is.
"""

import csv
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO

from imgsvc.demo.shop.pictures import photos

METADATA_SERVER = "http://169.254.169.254/latest/meta-data/photo.jpg"  # where clouds keep credentials; never called
HEADER = ("S. No.", "Product Name", "Input Image Urls")


@dataclass(frozen=True, slots=True)
class Product:
    """One row; `images` are paths on the origin, or whole URLs, in order."""

    serial_number: str
    name: str
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the origin."""

    status: int
    body: bytes = b""
    media_type: str = "text/plain"
    location: str | None = None


PRODUCTS = (
    Product("1", "Dotted Mug", ("/mug-front.jpg", "/mug-detail.webp", "/mug-pair.jpg", "/mug-turntable.gif")),
    Product("2", "Vase with Dried Grass", ("/vase-terracotta.jpg", "/vase-sage.jpg")),
    Product("3", "Insulated Bottle", ("/bottle-trio.jpg", "/bottle-latest.jpg")),
    Product("4", "Scented Candle", ("/candle-front.jpg", "/candle-mood.jpg", "/candle-lid.jpg")),
    Product("5", "Potted Plant", ("/plant-front.jpg", "/plant-leaves.avif")),
    Product("6", "Fruit Bowl", ("/oranges-front.png", "/oranges-detail.jpg")),
    Product("7", "Table Lamp", ("/lamp-front.jpg", "/lamp-evening.jpg")),
    Product("8", "Cushion Waves", ("/cushion-waves.jpg", "/living-room.jpg")),
    Product("9", "Cushions Dots and Checks", ("/cushion-dots.jpg", "/cushion-checks.webp")),
    Product("10", "Art Print Mountains", ("/poster-front.jpg", "/poster-scan.png", "/poster-for-print.png")),
    Product("11", "Lounge Chair", ("/chair-front.jpg", "/chair-rust.avif", "/living-room.jpg")),
    Product("12", "Notebook", ("/book-cover.jpg", "/book-pair.jpg", "/book-spine.jpg")),
    Product("13", "Wall Clock", ("/clock-front.bmp", "/clock-back.jpg")),
    Product("14", "Gift Card", ("/gift-card.png", "/gift-card-small.jpg", "/gift-box.jpg")),
    Product("15", "Sneaker Coral", ("/sneaker-coral.jpg", "/sneaker-coral-detail.jpg", "/sneaker-pair.webp")),
    Product("16", "Sneaker Ink", ("/sneaker-ink.jpg", "/sneaker-pair.webp")),
    Product("17", "Backpack", ("/backpack-blue.jpg", "/backpack-moss.webp", "/backpack-detail.jpg")),
    Product("18", "Headphones", ("/headphones-cream.jpg", "/headphones-black.tif", "/headphones-cutout.png")),
    Product("19", "Watch", ("/watch-front.jpg", "/watch-dial.jpg", "/watch-strap.jpg")),
    Product("20", "Sunglasses", ("/sunglasses-front.jpg", "/sunglasses-cutout.webp", METADATA_SERVER)),
    Product("21", "Fox Sticker", ("/sticker-fox.png", "/badge.png")),
)


def stock() -> Mapping[str, tuple[Answer, ...]]:
    """What the origin answers, by path: each answer once and in this order, the last one from then on.

    Draws all images: about 3 s of CPU.
    """
    images = {f"/{photo.name}": Answer(200, photo.data, photo.media_type) for photo in photos()}
    return {path: (answer,) for path, answer in images.items()} | _detours(images) | _failures(images)


def manifest(base_url: str) -> str:
    """The CSV of the products, with CRLF; `base_url` is the origin's, without a slash at its end."""
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEADER)
    for product in PRODUCTS:
        urls = [base_url + image if image.startswith("/") else image for image in product.images]
        writer.writerow((product.serial_number, product.name, ",".join(urls)))
    return text.getvalue()


def _detours(images: Mapping[str, Answer]) -> dict[str, tuple[Answer, ...]]:
    """What is had only in the end: a busy server, and an image that has moved (once fetched, it is there itself)."""
    busy = Answer(503, b"Please try again in a moment.")
    moved = Answer(302, location="/bottle-teal.jpg")
    return {
        "/lamp-front.jpg": (busy, images["/lamp-front.jpg"]),
        "/bottle-latest.jpg": (moved, images["/bottle-teal.jpg"]),
    }


def _failures(images: Mapping[str, Answer]) -> dict[str, tuple[Answer, ...]]:
    """What goes wrong in real catalogues; nothing of it can become a rendition."""
    login = b"<!doctype html><title>Sign in</title><h1>Please sign in to see this image</h1>"
    whole = images["/book-cover.jpg"].body
    return {
        "/candle-lid.jpg": (Answer(404, b"There is no such image."),),
        "/clock-back.jpg": (Answer(200, login, "text/html; charset=utf-8"),),
        "/book-spine.jpg": (Answer(200, whole[: len(whole) * 2 // 5], "image/jpeg"),),
        "/poster-for-print.png": (Answer(200, _vast_png(20_000), "image/png"),),
        "/watch-strap.jpg": (Answer(302, location="/watch-strap-new.jpg"),),
        "/watch-strap-new.jpg": (Answer(302, location="/watch-strap.jpg"),),
    }


def _vast_png(side: int) -> bytes:
    """A few bytes that claim to be `side` × `side` pixels, black and white; the check sums are right."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

"""The demo's catalogue: its products, and the origin's responses for their images, including broken ones.

A path starts with a slash and is requested from the demo's origin; any other URL is written to the CSV unchanged.
The image files are in `images/`; each of them is used.
"""

import csv
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from io import StringIO
from pathlib import PurePosixPath

METADATA_SERVER = "http://169.254.169.254/latest/meta-data/photo.jpg"  # serves a cloud's credentials; never called
HEADER = ("S. No.", "Product Name", "Input Image Urls")
_MEDIA_TYPES = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".webp": "image/webp",
}


@dataclass(frozen=True, slots=True)
class SampleProduct:
    """One row of the CSV; `images` are paths on the origin, or whole URLs, in order."""

    serial_number: str
    name: str
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response of the origin."""

    status: int
    body: bytes = b""
    media_type: str = "text/plain"
    location: str | None = None


PRODUCTS = (
    SampleProduct("1", "Dotted Mug", ("/mug-front.jpg", "/mug-turntable.gif")),
    SampleProduct("2", "Vase with Dried Grass", ("/vase-terracotta.jpg",)),
    SampleProduct("3", "Insulated Bottle", ("/bottle-teal.jpg", "/bottle-latest.jpg")),
    SampleProduct("4", "Scented Candle", ("/candle-mood.jpg", "/candle-lid.jpg")),
    SampleProduct("5", "Potted Plant", ("/plant-front.jpg", "/plant-leaves.avif")),
    SampleProduct("6", "Fruit Bowl", ("/oranges-front.png",)),
    SampleProduct("7", "Table Lamp", ("/lamp-front.jpg", "/lamp-evening.jpg", "/living-room.jpg")),
    SampleProduct("8", "Art Print Mountains", ("/poster-scan.png", "/poster-for-print.png")),
    SampleProduct("9", "Lounge Chair", ("/chair-rust.avif", "/living-room.jpg")),
    SampleProduct("10", "Notebook", ("/book-cover.jpg", "/book-spine.jpg")),
    SampleProduct("11", "Wall Clock", ("/clock-front.bmp", "/clock-back.jpg")),
    SampleProduct("12", "Gift Card", ("/gift-card.png", "/gift-card-small.jpg")),
    SampleProduct("13", "Sneaker Coral", ("/sneaker-coral.jpg", "/sneaker-pair.webp")),
    SampleProduct("14", "Sneaker Ink", ("/sneaker-pair.webp",)),
    SampleProduct("15", "Backpack", ("/backpack-blue.jpg",)),
    SampleProduct("16", "Headphones", ("/headphones-black.tif", "/headphones-cutout.png")),
    SampleProduct("17", "Watch", ("/watch-front.jpg", "/watch-strap.jpg")),
    SampleProduct("18", "Sunglasses", ("/sunglasses-cutout.webp", METADATA_SERVER)),
)


def responses() -> Mapping[str, tuple[Response, ...]]:
    """Return the origin's responses by path; each is sent once, in this order, and the last one is repeated."""
    images = {f"/{name}": Response(200, data, _MEDIA_TYPES[_suffix(name)]) for name, data in sample_images().items()}
    return {path: (response,) for path, response in images.items()} | _eventual_successes(images) | _failures(images)


def sample_images() -> dict[str, bytes]:
    """Read the image files, by file name; other files, such as a file manager's, are ignored."""
    folder = files(__package__).joinpath("images")
    return {file.name: file.read_bytes() for file in folder.iterdir() if _suffix(file.name) in _MEDIA_TYPES}


def manifest(base_url: str) -> str:
    """Return the products as CSV, with CRLF; `base_url` is the origin's, without a trailing slash."""
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEADER)
    for product in PRODUCTS:
        urls = [base_url + image if image.startswith("/") else image for image in product.images]
        writer.writerow((product.serial_number, product.name, ",".join(urls)))
    return text.getvalue()


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix


def _eventual_successes(images: Mapping[str, Response]) -> dict[str, tuple[Response, ...]]:
    """Return two images that succeed in the end: one after a 503, and one after a redirect."""
    busy = Response(503, b"Please try again in a moment.")
    moved = Response(302, location="/bottle-teal.jpg")
    return {
        "/lamp-front.jpg": (busy, images["/lamp-front.jpg"]),
        "/bottle-latest.jpg": (moved, images["/bottle-teal.jpg"]),
    }


def _failures(images: Mapping[str, Response]) -> dict[str, tuple[Response, ...]]:
    """Return images that fail, each for a reason that is common in real catalogues."""
    sign_in = b"<!doctype html><title>Sign in</title><h1>Please sign in to see this image</h1>"
    whole = images["/book-cover.jpg"].body
    return {
        "/candle-lid.jpg": (Response(404, b"There is no such image."),),
        "/clock-back.jpg": (Response(200, sign_in, "text/html; charset=utf-8"),),
        "/book-spine.jpg": (Response(200, whole[: len(whole) * 2 // 5], "image/jpeg"),),
        "/poster-for-print.png": (Response(200, _huge_png(20_000), "image/png"),),
        "/watch-strap.jpg": (Response(302, location="/watch-strap-new.jpg"),),
        "/watch-strap-new.jpg": (Response(302, location="/watch-strap.jpg"),),
    }


def _huge_png(side: int) -> bytes:
    """Return a few bytes whose header declares `side` × `side` black and white pixels; the checksums are right."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

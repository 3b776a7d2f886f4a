"""The table of output formats: every row is true, and nothing else lists the formats."""

import ast
import io
import re
from typing import get_args

import pytest
from PIL import Image

from imgsvc.client import uploads
from imgsvc.domain.imaging.compress import CodecLimits, Rendition, compress
from imgsvc.domain.imaging.credits import COPYRIGHT
from imgsvc.domain.imaging.formats import GIF, JPEG, KEPT_FORMATS, OUTPUT_FORMATS, PNG, Format, OutputFormat, in_prose
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.media_keys import folder_of, rendition_key
from support.images import BLUE, RED, animation, decoded, distance, encoded, pixel, scene
from support.paths import ROOT

pytestmark = pytest.mark.usefixtures("prepared_pillow")

ROWS = [pytest.param(row, id=row.name) for row in OUTPUT_FORMATS.values()]
OFFERED = [row.name for row in OUTPUT_FORMATS.values() if row is not GIF]

SOURCE = ROOT / "src" / "imgsvc"
MAY_NAME_FORMATS = {
    "api/openapi/examples.py",
    "api/schemas/products.py",  # an example
    "client/uploads.py",  # the client does without the server's packages
    "demo/catalogue.py",  # input images
    "domain/imaging/formats.py",
}


def rendition(data: bytes, row: OutputFormat) -> Rendition:
    """Return the rendition in the format of `row`; only an animated GIF becomes a GIF."""
    spec = Spec(format=Format.original if row is GIF else Format(row.name), background="#0000ff", max_width=20)
    return compress(data, [spec], CodecLimits()).renditions[0]


def input_for(row: OutputFormat) -> bytes:
    return animation("GIF", count=3, size=(48, 40)) if row is GIF else encoded(scene(48, 40), "PNG")


@pytest.mark.parametrize("row", ROWS)
def test_every_format_is_written_as_its_row_describes(row: OutputFormat) -> None:
    written = rendition(input_for(row), row)
    image = decoded(written.data)
    assert written.format == row.name == (image.format or "").lower()
    assert Image.MIME[image.format or ""] == row.media_type


@pytest.mark.parametrize("row", ROWS)
def test_a_rendition_of_every_format_has_an_address(row: OutputFormat) -> None:
    folder = "0" * 24
    key = rendition_key(folder=folder, name="a", rendition="main", digest="a" * 16, extension=row.extension)
    assert folder_of(key) == folder


@pytest.mark.parametrize("row", ROWS)
def test_transparency_is_kept_or_laid_on_the_background(row: OutputFormat) -> None:
    frames = [Image.new("RGBA", (40, 32), (*RED, 255)), Image.new("RGBA", (40, 32))]
    frames[0].paste((0, 0, 0, 0), (0, 0, 20, 32))
    options = {"save_all": True, "append_images": frames[1:], "disposal": 2} if row is GIF else {}
    image = decoded(rendition(encoded(frames[0], "GIF" if row is GIF else "PNG", **options), row).data)
    colour = pixel(image.convert("RGBA"), (4, 8))
    assert colour[3] < 10 if row.alpha != "none" else distance(colour, (*BLUE, 255)) < 30


@pytest.mark.parametrize("row", ROWS)
def test_animations_stay_animated_where_the_row_promises_it(row: OutputFormat) -> None:
    image = Image.open(io.BytesIO(rendition(animation("GIF", count=3, size=(48, 40)), row).data))
    assert getattr(image, "n_frames", 1) == (3 if row.animated else 1)


@pytest.mark.parametrize("name", OFFERED)
def test_the_copyright_is_kept(name: str) -> None:
    block = Image.Exif()
    block[COPYRIGHT] = "Anna"
    data = encoded(scene(48, 40), "PNG", exif=block)
    assert decoded(rendition(data, OUTPUT_FORMATS[name]).data).getexif()[COPYRIGHT] == "Anna"


def test_the_api_offers_every_format_but_gif() -> None:
    assert list(Format) == ["original", *OFFERED]


def test_the_client_offers_the_formats_of_the_api() -> None:
    assert get_args(uploads.Format) == tuple(Format)


def test_original_keeps_the_formats_that_browsers_show() -> None:
    assert {name: row.name for name, row in KEPT_FORMATS.items()} == {
        "JPEG": "jpeg",
        "MPO": "jpeg",
        "PNG": "png",
        "WEBP": "webp",
        "AVIF": "avif",
    }


def test_formats_in_prose() -> None:
    assert in_prose([JPEG]) == "JPEG"
    assert in_prose([JPEG, PNG, GIF], "or") == "JPEG, PNG or GIF"


def test_no_other_module_lists_the_output_formats() -> None:
    names = {text for row in OUTPUT_FORMATS.values() for text in (row.name, row.extension, row.media_type)}
    naming = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        # A list in one string counts too: "jpeg|png|webp".
        if node.value in names or set(re.split(r"[|,/ ]+", node.value)) <= names
    }
    assert naming == MAY_NAME_FORMATS

"""Names of images: templates, letters of every script, and what is refused."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.domain.manifest.model import Manifest
from imgsvc.domain.manifest.read_csv import Columns, read_manifest
from imgsvc.domain.names import MAX_NAME, ImageNames, Slot, slug
from imgsvc.errors import InvalidManifest

CSV = (
    "S. No.,Product Name,Input Image Urls,Colour\r\n"
    'A-7,Crème brûlée,"https://shop.example/p/IMG_20%2B1.jpeg?v=2,https://shop.example/b.png",dark blue\r\n'
)


def manifest(name: str = "Crème brûlée", serial: str = "A-7") -> Manifest:
    read = read_manifest(CSV.encode())
    [product] = read.products
    cells = (serial, name, *product.cells[2:])
    return replace(read, products=[product._replace(product_name=name, serial_number=serial, cells=cells)])


def names(template: str | None, read: Manifest) -> list[str]:
    image_names = ImageNames(template, read)
    [product] = read.products
    return [image_names.of(Slot(product, number, read.assets[slot])) for number, slot in enumerate(product.slots, 1)]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (None, ["creme-brulee-1", "creme-brulee-2"]),
        ("{sku}", ["a-7", "a-7"]),
        ("{sku}_{n}", ["a-7-1", "a-7-2"]),
        ("{original}", ["img-20-1", "b"]),
        ("{column}-{n}", ["input-image-urls-1", "input-image-urls-2"]),
        ("{Colour} {name}", ["dark-blue-creme-brulee", "dark-blue-creme-brulee"]),
        ("{ colour }/{N}", ["dark-blue-1", "dark-blue-2"]),
        ("{product name}-{s. no.}", ["creme-brulee-a-7", "creme-brulee-a-7"]),
        ("summer", ["summer", "summer"]),
        ("../..", ["a-7", "a-7"]),
    ],
)
def test_a_template_is_filled(template: str | None, expected: list[str]) -> None:
    assert names(template, manifest()) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Чашка кофе", "chashka-kofe-1"),
        ("コーヒー", "kohi-1"),
        ("靴", "xue-1"),
        ("كوب", "kwb-1"),
        ("☕", "coffee-1"),
        ("Straße & Söhne № 5", "strasse-sohne-no-5-1"),
        ("\u200b", "a-7-1"),
        ("", "a-7-1"),
        ("--", "a-7-1"),
    ],
)
def test_letters_of_every_script_are_transliterated(name: str, expected: str) -> None:
    assert names(None, manifest(name))[0] == expected


def test_images_of_several_columns_can_be_named_after_their_column() -> None:
    text = "Handle,Title,Main Image,Swatch\r\n7,Mug,https://a.example/1.jpg,https://a.example/2.jpg\r\n"
    columns = Columns(serial_number="Handle", product_name="Title", image_urls=["Main Image", "Swatch"])
    assert names("{sku}-{column}", read_manifest(text.encode(), columns=columns)) == ["7-main-image", "7-swatch"]


def test_a_product_without_name_and_serial_number_still_has_image_names() -> None:
    assert names("{name}", manifest("", "")) == ["image", "image"]


def test_the_number_follows_a_name_that_is_cut() -> None:
    [first, second] = names(None, manifest("long " * 1_000))
    assert (first[-2:], second[-2:]) == ("-1", "-2")
    assert len(first) <= MAX_NAME


@given(st.text(), st.text())
def test_a_name_is_safe_in_any_url_and_file_name(name: str, serial: str) -> None:
    for made in names("{name}{sku}.{n}", manifest(name, serial)):
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", made)
        assert len(made) <= MAX_NAME


@pytest.mark.parametrize("template", ["{size}", "{}", "{name} {size}", "{__class__}"])
def test_a_template_with_an_unknown_column_is_refused_with_those_that_exist(template: str) -> None:
    with pytest.raises(InvalidManifest) as refusal:
        ImageNames(template, manifest())
    [problem] = refusal.value.problems
    assert (problem.code, problem.column) == ("unknown_placeholder", "names")
    for known in ("{name}", "{sku}", "{n}", "{original}", "{Colour}"):
        assert f"`{known}`" in problem.detail


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Running Shoe", "running-shoe"), ("../../etc/passwd", "etc-passwd"), ("---", ""), ("a" * 59 + " b", "a" * 59)],
)
def test_a_slug_resembles_its_text(text: str, expected: str) -> None:
    assert slug(text) == expected

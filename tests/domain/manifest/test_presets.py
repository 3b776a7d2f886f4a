"""Presets: the columns of known exports are found by their headers."""

import pytest

from imgsvc.domain.manifest.columns import Columns
from imgsvc.domain.manifest.model import Manifest
from imgsvc.domain.manifest.presets import BASIC, PRESETS
from imgsvc.domain.manifest.read_csv import read_manifest
from imgsvc.errors import InvalidManifest
from support.catalogue_exports import EXPORTS

A, B = "https://a.example/1.jpg", "https://b.example/2.jpg"


def headers(manifest: Manifest) -> tuple[str | None, str, list[str]]:
    """Return the headers of the serial number, the name, and the images."""
    file, header = manifest.file_format, manifest.header
    serial = None if file.serial_column is None else header[file.serial_column]
    return serial, header[file.name_column or 0], [header[index] for index in file.url_columns]


@pytest.mark.parametrize("export", EXPORTS, ids=str)
def test_an_export_is_recognised_with_its_columns(export: str) -> None:
    made = EXPORTS[export]
    manifest = read_manifest(made.data("https://shop.example"))
    assert manifest.file_format.preset == made.preset
    assert headers(manifest) == (made.serial_number, made.product_name, made.image_urls)
    assert manifest.assets == made.urls("https://shop.example")
    assert {warning.code for warning in manifest.warnings} <= {"product_without_url"}


def test_every_preset_has_an_export_that_it_recognises() -> None:
    assert {made.preset for made in EXPORTS.values()} == {BASIC, *(preset.name for preset in PRESETS)}


def test_given_columns_take_precedence_over_a_preset() -> None:
    columns = Columns(serial_number=None, product_name="Handle", image_urls="Variant Image")
    manifest = read_manifest(f"Handle,Title,Image Src,Variant Image\nm,Mug,{A},{B}".encode(), columns=columns)
    assert (manifest.file_format.preset, manifest.assets) == (None, [B])


def test_a_serial_number_column_of_earlier_uploads_is_still_used() -> None:
    manifest = read_manifest(f"S. No.,Handle,Title,Image Src,Variant Image\n7,m,Mug,{A},{B}".encode())
    assert manifest.products[0][:2] == ("7", "Mug")
    assert manifest.file_format.url_columns == (3, 4)


def test_lines_above_the_header_of_a_template_are_not_products() -> None:
    lines = ["Template=x,Version=1", "", "a,b", "*Action(SiteID=US),CustomLabel,*Title,PicURL", f"Add,M1,Mug,{A}|{B}"]
    manifest = read_manifest("\n".join(lines).encode())
    assert [(product.serial_number, product.slots) for product in manifest.products] == [("M1", (0, 1))]


def test_labels_above_the_names_of_a_template_are_not_a_product() -> None:
    lines = ["Template=x", "SKU,Item Name,Main Image URL", "sku,item_name,main_image_url", f"M1,Mug,{A}"]
    manifest = read_manifest("\n".join(lines).encode())
    assert [product.serial_number for product in manifest.products] == ["M1"]
    assert manifest.header == ("sku", "item_name", "main_image_url")


def test_a_header_that_is_repeated_among_the_rows_of_a_template_is_a_row() -> None:
    header = "*Action,CustomLabel,*Title,PicURL"
    lines = ["Template=x", header, f"Add,M1,Mug,{A}", header, f"Add,M2,Cup,{B}"]
    manifest = read_manifest("\n".join(lines).encode())
    assert [product.serial_number for product in manifest.products] == ["M1", "CustomLabel", "M2"]


def test_a_header_far_below_the_first_line_is_not_searched() -> None:
    lines = [*(f"line {number},x" for number in range(20)), "*Action,Title,PicURL", f"Add,Mug,{A}"]
    with pytest.raises(InvalidManifest) as caught:
        read_manifest("\n".join(lines).encode())
    assert {problem.code for problem in caught.value.problems} == {"missing_column"}


def test_paths_in_a_magento_export_are_no_images_and_no_error() -> None:
    rows = [f"1,Mug,/m/u/mug.jpg,{A}", f"2,Cup,no_selection,{B}"]
    manifest = read_manifest("\n".join(["sku,name,base_image,additional_images", *rows]).encode())
    assert manifest.assets == [A, B]
    assert [product.slot_counts for product in manifest.products] == [(0, 1), (0, 1)]


def test_an_export_with_nothing_but_paths_is_refused_in_words() -> None:
    with pytest.raises(InvalidManifest) as caught:
        read_manifest(b"sku,name,base_image,additional_images\n1,Mug,/m/u/mug.jpg,")
    [problem] = caught.value.problems
    assert problem.code == "no_urls"
    assert "full addresses" in problem.detail


def test_text_in_other_presets_is_an_invalid_url() -> None:
    with pytest.raises(InvalidManifest) as caught:
        read_manifest(b"Handle,Title,Image Src\nm,Mug,see attachment")
    assert [problem.code for problem in caught.value.problems] == ["invalid_url"]

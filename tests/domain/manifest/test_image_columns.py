"""Several image columns: which belong to whom, and the columns of the reports."""

import pytest

from imgsvc.domain.manifest.columns import Columns
from imgsvc.domain.manifest.csv_text import render_rows
from imgsvc.domain.manifest.model import Manifest
from imgsvc.domain.manifest.read_csv import read_manifest
from imgsvc.domain.manifest.report import (
    Slot,
    failure_row,
    failures_layout,
    output_cells,
    output_layout,
)
from imgsvc.errors import InvalidManifest

A, B, C, D = (f"https://{host}.example/{host}.jpg" for host in "abcd")
MAIN_AND_MORE = Columns(serial_number="sku", product_name="name", image_urls=["main", "more"])


def read(*lines: str, columns: Columns | None = None) -> Manifest:
    return read_manifest("\n".join(lines).encode(), columns=columns)


def urls_by_column(manifest: Manifest) -> list[list[str]]:
    """Return the URLs of the first product, by image column."""
    [product, *_] = manifest.products
    urls, start = [manifest.assets[slot] for slot in product.slots], 0
    groups = []
    for count in product.slot_counts or (len(urls),):
        groups.append(urls[start : start + count])
        start += count
    return groups


def test_a_list_of_headers_names_several_image_columns() -> None:
    manifest = read("sku,main,name,more", f'1,{A},Mug,"{B}, {C}"', f"2,,Cup,{D}", columns=MAIN_AND_MORE)
    assert manifest.file_format.url_columns == (1, 3)
    assert urls_by_column(manifest) == [[A], [B, C]]
    assert [product.slot_counts for product in manifest.products] == [(1, 2), (0, 1)]


def test_an_image_in_several_columns_is_one_asset() -> None:
    manifest = read("sku,main,name,more", f'1,{A},Mug,"{A},{B}"', f"2,{B},Cup,{A}", columns=MAIN_AND_MORE)
    assert manifest.assets == [A, B]
    assert [product.slots for product in manifest.products] == [(0, 0, 1), (1, 0)]
    assert manifest.url_count == 5


@pytest.mark.parametrize("columns", [None, Columns(serial_number="ID", product_name="Name", image_urls="Image")])
def test_a_header_that_occurs_three_times_names_three_columns(columns: Columns | None) -> None:
    manifest = read("ID,Image,Name,Image,image", f"1,{A},Mug,{B},{C}", columns=columns)
    exact = columns is not None  # `Image` as given matches exactly before it matches loosely
    assert urls_by_column(manifest) == ([[A], [B]] if exact else [[A], [B], [C]])


def test_one_image_column_stores_no_counts() -> None:
    assert read("ID,Name,Images", f"1,Mug,{A}").products[0].slot_counts is None


def test_an_unknown_header_of_the_list_is_named() -> None:
    columns = MAIN_AND_MORE.model_copy(update={"image_urls": ["main", "film", "clip"]})
    with pytest.raises(InvalidManifest) as caught:
        read("sku,main,name,more", f"1,{A},Mug,", columns=columns)
    assert [(each.code, each.column) for each in caught.value.problems] == [("missing_column", "image_urls")] * 2
    assert ["`film`" in caught.value.problems[0].detail, "`clip`" in caught.value.problems[1].detail] == [True, True]


def test_an_invalid_url_is_reported_with_its_own_column() -> None:
    with pytest.raises(InvalidManifest) as caught:
        read("sku,main,name,more", f"1,{A},Mug,nowhere", columns=MAIN_AND_MORE)
    assert [(each.row, each.column, each.value) for each in caught.value.problems] == [(2, "more", "nowhere")]


def test_each_image_column_has_its_own_output_column_per_rendition() -> None:
    header = ("sku", "main", "name", "more")
    layout = output_layout(header, url_columns=(1, 3), renditions=("main", "thumb"), extended=True)
    assert layout.header[4:8] == (
        "Output Image Urls (main)",
        "Output Image Urls (more)",
        "Output Image Urls (main, thumb)",
        "Output Image Urls (more, thumb)",
    )
    a, b = (Slot((f"https://m/{name}.jpg", f"https://m/{name}-t.jpg"), "succeeded", None, 9, 4) for name in "ab")
    cells = output_cells([a, Slot((), "failed", "http_404"), b], counts=(1, 2), renditions=2, extended=True)
    assert cells[:4] == ["https://m/a.jpg", ",https://m/b.jpg", "https://m/a-t.jpg", ",https://m/b-t.jpg"]
    assert cells[4:] == ["succeeded,failed,succeeded", ",http_404,", "9,,9", "4,,4"]


def test_a_single_image_column_keeps_the_name_of_its_output_column() -> None:
    assert output_layout(("ID", "Name", "Images"), url_columns=(2,)) == output_layout(("ID", "Name", "Images"))


@pytest.mark.parametrize(
    "header",
    [("ID", "Image", "Image", "Image"), ("ID", "Image", "Image", "Image 2"), ("ID", "a", "a, thumb", "a")],
)
def test_output_columns_have_different_names_and_are_found_again(header: tuple[str, ...]) -> None:
    layout = output_layout(header, url_columns=(1, 2, 3), renditions=("main", "thumb"))
    assert len(set(layout.header[4:])) == len(layout.header[4:]) == 6
    assert output_layout(layout.header, url_columns=(1, 2, 3), renditions=("main", "thumb")) == layout


def test_an_output_of_several_columns_is_uploaded_again_with_the_same_images() -> None:
    manifest = read("sku,base_image,name,additional_images", f'1,{A},Mug,"{B},{C}"')
    layout = output_layout(manifest.header, url_columns=manifest.file_format.url_columns)
    [product] = manifest.products
    row = layout.row(product.cells, ["https://m/a.jpg", "https://m/b.jpg,"])
    again = read_manifest(render_rows([layout.header, row], ",").encode())
    assert (again.assets, again.file_format) == (manifest.assets, manifest.file_format)
    assert [each.slots for each in again.products] == [each.slots for each in manifest.products]
    assert output_layout(again.header, url_columns=again.file_format.url_columns) == layout


def test_failures_have_the_failed_urls_in_their_own_columns() -> None:
    manifest = read("sku,base_image,name,additional_images", f'1,{A},Mug,"{B},{C}"', f"2,{D},Cup,")
    layout = failures_layout(manifest.header)
    row = failure_row(layout, manifest.products[0].cells, urls={1: [], 3: [C]}, errors=["http_404: gone"])
    assert row == ["1", "", "Mug", C, "http_404: gone"]
    again = read_manifest(render_rows([layout.header, row], ",").encode())
    assert urls_by_column(again) == [[], [C]]

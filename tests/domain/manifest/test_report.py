"""Writing reports: the uploaded rows with the added columns, as CSV text that can be read back."""

import csv
import io
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgsvc.domain.manifest.csv_text import render_rows
from imgsvc.domain.manifest.read_csv import read_manifest
from imgsvc.domain.manifest.report import Slot, failure_row, failures_layout, output_cells, output_layout

HEADER = ("S. No.", "Product Name", "Input Image Urls")
DONE = Slot(("https://m/1.jpg", "https://m/1-thumb.jpg"), "succeeded", None, 900, 400)
FAILED = Slot((), "failed", "http_404")


def parsed(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def test_the_output_column_comes_after_the_columns_of_the_upload() -> None:
    layout = output_layout(HEADER)
    assert layout.header == (*HEADER, "Output Image Urls")
    assert layout.row(("1", "Mug", "a,b"), ["x,"]) == ["1", "Mug", "a,b", "x,"]


def test_every_rendition_and_the_extended_columns_have_their_own() -> None:
    layout = output_layout(HEADER, renditions=("main", "thumb"), extended=True)
    added = ("Output Image Urls", "Output Image Urls (thumb)", "Status", "Error", "Input Bytes", "Output Bytes")
    assert layout.header == (*HEADER, *added)
    assert layout.row(HEADER, added) == list(layout.header)


def test_a_short_row_is_padded_so_that_added_cells_are_below_their_header() -> None:
    assert output_layout((*HEADER, "", "")).row(("1", "Mug", "a"), ["x"]) == ["1", "Mug", "a", "", "", "x"]


def test_an_output_that_is_uploaded_again_keeps_its_columns_and_gets_new_values() -> None:
    first = output_layout((*HEADER, "Note"), extended=True)
    again = output_layout(first.header, extended=True)
    assert again == first
    assert again.row(["1", "Mug", "a", "n", "old", "old", "old", "1", "2"], list("vwxyz")) == [
        "1",
        "Mug",
        "a",
        "n",
        *"vwxyz",
    ]


def test_a_status_column_of_the_catalogue_is_not_overwritten() -> None:
    layout = output_layout((*HEADER, "Status"), extended=True)
    row = layout.row(["1", "Mug", "a", "active"], ["x", "succeeded", "", "1", "2"])
    assert row == ["1", "Mug", "a", "active", "x", "succeeded", "", "1", "2"]
    assert output_layout(layout.header, extended=True) == layout


def test_each_url_has_its_slot_and_a_failed_one_is_empty() -> None:
    assert output_cells([FAILED, DONE, FAILED, DONE]) == [",https://m/1.jpg,,https://m/1.jpg"]
    assert output_cells([FAILED]) == [""]
    assert output_cells([]) == [""]


def test_the_extended_cells_have_one_entry_per_url() -> None:
    assert output_cells([DONE, FAILED], renditions=2, extended=True) == [
        "https://m/1.jpg,",
        "https://m/1-thumb.jpg,",
        "succeeded,failed",
        ",http_404",
        "900,",
        "400,",
    ]


def test_an_image_of_no_bytes_is_zero_and_not_blank() -> None:
    assert output_cells([Slot(("u",), "succeeded", None, 0, 0)], extended=True)[-2:] == ["0", "0"]


def test_failures_have_only_the_failed_urls_and_can_be_uploaded_again() -> None:
    layout = failures_layout(HEADER)
    urls = ["https://a/w_1,h_2/x.jpg", "nowhere", "https://b/y"]
    row = failure_row(layout, ("1", "Mug", "…"), urls={2: urls}, errors=["http_404", "invalid_url", "dns_error"])
    manifest = read_manifest(render_rows([layout.header, row], ",").encode(), on_invalid="skip")
    assert manifest.assets == urls
    assert manifest.header == (*HEADER, "Error")
    assert manifest.products[0].cells[3] == "http_404, invalid_url, dns_error"
    assert failures_layout(layout.header) == layout


def test_the_text_has_crlf_minimal_quotes_and_the_delimiter_of_the_upload() -> None:
    rows = [["a b", "a;b", 'say "x"', "1\n2", "ä,ö", ""]]
    assert render_rows(rows, ";") == 'a b;"a;b";"say ""x""";"1\n2";ä,ö;\r\n'
    assert render_rows(rows, ",") == 'a b,a;b,"say ""x""","1\n2","ä,ö",\r\n'


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(1)",
        "\tx",
        "\rx",
        "\nx",
        "＝1",
        "＋1",
        "－1",
        "＠x",
        " =1",
        "\u3000=1",
        '=cmd|"/C calc"!A0',
    ],
)
def test_a_formula_is_escaped_only_with_safe(cell: str) -> None:
    assert parsed(render_rows([["x", cell]], ",", safe=True)) == [["x", "'" + cell]]
    assert parsed(render_rows([["x", cell]], ",")) == [["x", cell]]


@pytest.mark.parametrize("cell", ["", "a=1", "1-2", "https://a/x", "'=1", "x@y.example", "a\tb"])
def test_other_cells_are_not_escaped(cell: str) -> None:
    assert parsed(render_rows([["x", cell]], ",", safe=True)) == [["x", cell]]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
DELIMITERS = st.sampled_from([",", ";", "\t", "|"])


@given(st.lists(st.lists(TEXTS | st.sampled_from([" a", 'b"', "c,d", ";", "e\r\nf", "'"]), min_size=1)), DELIMITERS)
@settings(deadline=None)
def test_any_rows_are_read_back_unchanged(rows: list[list[str]], delimiter: str) -> None:
    assert parsed(render_rows(rows, delimiter), delimiter) == rows


URLS = st.sampled_from(["https://a/1", "https://a/w_1,h_2/x", "//b/2", "www.c/3", "ftp://d", "HTTP://e/5;6|7"])
ROWS = st.lists(
    st.tuples(TEXTS, TEXTS, st.lists(URLS, max_size=4), st.lists(TEXTS, max_size=2)), min_size=1, max_size=5
)


@given(ROWS, DELIMITERS, st.sampled_from([",", ", ", "\n"]), st.booleans())
@settings(deadline=None, max_examples=200)
def test_a_report_that_is_uploaded_again_is_the_same_manifest(
    rows: list[tuple[str, str, list[str], list[str]]], delimiter: str, separator: str, extended: bool
) -> None:
    first = [(f"s{serial}", name, separator.join(urls), *more) for serial, name, urls, more in rows]
    header: Sequence[str] = (*HEADER, "Note")
    data = render_rows([header, ("s", "n", "https://z/", ""), *first], delimiter).encode()
    manifest = read_manifest(data, on_invalid="skip")
    layout = output_layout(manifest.header, extended=extended)
    added = [output_cells([FAILED for _ in product.slots], extended=extended) for product in manifest.products]
    lines = [layout.row(product.cells, cells) for product, cells in zip(manifest.products, added, strict=True)]
    again = read_manifest(render_rows([layout.header, *lines], delimiter).encode(), on_invalid="skip")
    assert (again.assets, again.invalid, again.url_count) == (manifest.assets, manifest.invalid, manifest.url_count)
    for product, before in zip(again.products, manifest.products, strict=True):
        assert product._replace(cells=()) == before._replace(cells=())
    assert again.header == layout.header

"""The output that replaces URLs: nothing but the URLs of the file changes."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imgsvc.domain.manifest.columns import Columns
from imgsvc.domain.manifest.csv_text import split_record
from imgsvc.domain.manifest.model import Manifest
from imgsvc.domain.manifest.output import OutputTable
from imgsvc.domain.manifest.read_csv import read_manifest
from imgsvc.domain.manifest.report import EXTENDED, Slot
from imgsvc.domain.manifest.urls import replace_urls, split_cell, url_spans
from support.catalogue_exports import EXPORTS, Export
from support.paths import CORPORA

HEADER = "S. No.,Product Name,Input Image Urls"
A, B, C = "https://a.example/1.jpg", "https://b.example/2.jpg", "https://c.example/3.jpg"
COLUMNS = Columns(serial_number=None, product_name="Product Name", image_urls=["Input Image Urls", "More"])


def read(data: bytes, *, columns: Columns | None = None) -> Manifest:
    """Read the upload of a file whose output replaces its URLs."""
    return read_manifest(data, columns=columns, on_invalid="skip", keeps_text=True)


def written(
    manifest: Manifest,
    new: Mapping[str, str],
    *,
    on_failed: str = "original",
    renditions: Sequence[str] = ("main",),
    extended: bool = False,
    safe: bool = False,
) -> bytes:
    """Return the output in which the URLs in `new` have an image and all others failed."""
    file = manifest.file_format.model_copy(update={"output": "replace", "on_failed": on_failed})
    table = OutputTable(manifest.header, file, renditions=renditions, extended=extended)

    def rows() -> Iterator[Sequence[str]]:
        yield table.header()
        for product in manifest.products:
            slots = [slot(manifest.assets[position]) for position in product.slots]
            yield table.row(product.cells, slots, counts=product.slot_counts, source=product.source)

    def slot(url: str) -> Slot:
        fallback = {"empty": "", "original": url}.get(on_failed, on_failed)
        urls = (new[url], *(f"{new[url]}?{name}" for name in renditions[1:])) if url in new else ()
        return Slot(urls, "succeeded" if urls else "failed", None if urls else "http_404", 9, 4, fallback)

    return (table.start() + table.text(rows(), manifest.delimiter, safe=safe)).encode(file.codec)


def unchanged(data: bytes, *, columns: Columns | None = None) -> bytes:
    return written(read(data, columns=columns), {})


def replaced(*lines: str, on_failed: str = "original") -> list[str]:
    """Return the lines of the output of a file in which two of the URLs have an image."""
    new = {A: "https://m/a", B: "https://m/b"}
    return written(read("\n".join(lines).encode()), new, on_failed=on_failed).decode().split("\n")


# -- nothing is replaced: the same bytes ------------------------------------------------------------------------------

CELLS = st.text(st.characters(codec="cp1252", exclude_characters="\0\x81\x8d\x8f\x90\x9d\r"), max_size=8)
URLS = st.lists(st.sampled_from([A, B, "https://c.example/w_1,h_2/x", "//d.example/1", "nowhere"]), max_size=3)
LISTS = st.builds(
    lambda urls, separator: separator.join(urls), URLS, st.sampled_from([", ", ",", ";", "|", "\n", " | "])
)
TABLES = st.lists(st.tuples(CELLS, CELLS, LISTS, CELLS, LISTS), min_size=1, max_size=5)
QUOTINGS: tuple[Literal[0, 1, 2], ...] = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "cp1252"]


@given(
    TABLES,
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(QUOTINGS),
    st.sampled_from(["\r\n", "\n", "\r"]),
    st.sampled_from(ENCODINGS),
    st.booleans(),
    st.booleans(),
)
@settings(deadline=None, max_examples=300)
def test_a_well_formed_csv_in_which_nothing_is_replaced_is_identical(
    rows: list[tuple[str, ...]],
    delimiter: str,
    quoting: Literal[0, 1, 2],
    line_end: str,
    encoding: str,
    ends: bool,
    sep: bool,
) -> None:
    text = io.StringIO(newline="")
    header = ["No", "Product Name", "Input Image Urls", "Note", "More"]
    # The writer quotes what is a line end for it, and cells of other line ends only as a CRLF.
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="\r\n").writerows(
        [header, ["1", "x", A, "", ""], *rows]
    )
    content = text.getvalue().replace("\r\n", line_end)
    content = content if ends else content.removesuffix(line_end)
    content = f"sep={delimiter}{line_end}{content}" if sep else content
    data = content.encode(encoding)
    assert unchanged(data, columns=COLUMNS) == data


@pytest.mark.parametrize(
    "text",
    [
        f'{HEADER}\n1,"Mug",{A}\n2,Cup,"{B}"\n',
        f'"S. No.","Product Name","Input Image Urls"\n1,Mug,{A}\n',
        f"{HEADER}\n1, Mug , {A}\n",
        f'{HEADER}\n1,a"b"c,{A}\n2,"x"y,{A}\n',
        f"{HEADER},Note,More\n1,Mug,{A}\n2,Cup,{B},,,\n",
        f"\n{HEADER}\n\n1,Mug,{A}\n,,\n\n2,Cup,{B}\n\n\n",
        f"{HEADER}\r\n1,Mug,{A}\n2,Cup,{B}\r3,Fork,\r\n",
        f"{HEADER},,\n1,Mug,{A},,\n",
        f"{HEADER}\n1,Mug,{A},{B},{C}\n",
        f'{HEADER}\n1,Mug,"{A}", "{B}"\n',
        f"{HEADER},Price\n1,Mug,{A},9\n2,Cup,{A},9,what is this?\n",
        f'{HEADER}\n1,"two\n\nlines",{A}',
        f'{HEADER}\n1,"\\" x",{A}\n',
    ],
    ids=[
        "some quoted", "quoted header", "blanks", "stray quotes", "short and long rows", "blank rows",
        "mixed line ends", "blank headers", "spilled", "spilled and quoted", "extra cells", "no last line end",
        "backslash",
    ],
)  # fmt: skip
def test_an_irregular_csv_in_which_nothing_is_replaced_is_identical(text: str) -> None:
    assert unchanged(text.encode()).decode() == text


REAL = {path.name: path.read_bytes() for path in sorted(CORPORA.glob("csv/[bc]*/*.csv"))}
WITH_URLS = {"made": f"{HEADER}\r\n1.,Mug,{A}, {B}\r\n".encode(), **REAL}


@pytest.mark.parametrize("name", WITH_URLS)
def test_a_real_csv_in_which_nothing_is_replaced_is_identical(name: str) -> None:
    assert unchanged(WITH_URLS[name]) == WITH_URLS[name]


# -- the exports of ten systems ---------------------------------------------------------------------------------------


def cells_of(data: bytes, export: Export, delimiter: str) -> list[list[str]]:
    text = data.decode(export.encoding)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_comes_back_with_nothing_but_other_addresses(name: str) -> None:
    export = EXPORTS[name]
    data = export.data("https://img.example")
    manifest = read(data)
    new = {url: url.replace("https://img.example/", "https://m/x/") for url in manifest.assets}
    output = written(manifest, new)
    assert output != data
    assert output == data.decode(export.encoding).replace("https://img.example/", "https://m/x/").encode(
        export.encoding
    )

    rows, output_rows = (cells_of(each, export, manifest.delimiter) for each in (data, output))
    changed = {
        index
        for row, output_row in zip(rows, output_rows, strict=True)
        for index, cells in enumerate(zip(row, output_row, strict=True))
        if cells[0] != cells[1]
    }
    assert changed <= set(manifest.file_format.url_columns)


def test_most_rows_of_a_regular_export_are_stored_without_their_text() -> None:
    for name in ("woocommerce", "magento", "prestashop", "etsy", "ebay", "bigcommerce", "google merchant"):
        manifest = read(EXPORTS[name].data("https://img.example"))
        kept = [product.source for product in manifest.products if product.source is not None]
        assert len(kept) <= 1, name


# -- URLs in a cell ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (A, "X"),
        (f" {A} ", " X "),
        (f"{A},{B}", "X,Y"),
        (f"{A}, {B}", "X, Y"),
        (f"{A};{B}|{A}", "X;Y|X"),
        (f"{A}\n{B}\n", "X\nY\n"),
        (f"{A}  {B},", "X  Y,"),
        (f'["{A}", "{B}"]', '["X", "Y"]'),
        (f"['{A}','{B}']", "['X','Y']"),
        (f'["{A}", ""]', '["X", ""]'),
        ("https://cdn.example/w_1,h_2/x.jpg,www.b.example/y", "https://cdn.example/w_1,h_2/x.jpg,www.b.example/y"),
        ("", ""),
    ],
)
def test_urls_change_in_place_and_separators_stay(cell: str, expected: str) -> None:
    new = {A: "X", B: "Y"}
    assert replace_urls(cell, [new.get(piece) for piece in split_cell(cell)]) == expected


@given(
    st.lists(
        st.sampled_from([A, "//b.example/x,y", "www.c.example", "x", '"', "'", "[", "]", ",", ";", " ", "\n", "\\/"])
    )
)
@example(["[", '"', A, '"', ",", '"', " ", '"', "]"])
def test_the_spans_of_a_cell_are_the_pieces_it_is_split_into(parts: list[str]) -> None:
    cell = "".join(parts)
    pieces = [cell[start:end] for start, end in url_spans(cell)]
    assert [piece.replace("\\/", "/").strip() for piece in pieces] == [
        piece.replace("\\/", "/").strip() for piece in split_cell(cell)
    ]


def test_text_of_a_preset_that_keeps_it_is_not_replaced() -> None:
    assert replaced("sku,name,base_image,additional_images", f'1,Mug,/m/u/g.jpg,"/x.jpg,{A}"')[1] == (
        '1,Mug,/m/u/g.jpg,"/x.jpg,https://m/a"'
    )


# -- slots without an image -------------------------------------------------------------------------------------------


def test_a_slot_without_an_image_is_empty_and_the_others_keep_their_places() -> None:
    assert replaced(HEADER, f'1,Mug,"{A}, {C}, {B}"', f"2,Cup,{C}", on_failed="empty")[1:] == [
        '1,Mug,"https://m/a, , https://m/b"',
        "2,Cup,",
    ]


def test_a_slot_without_an_image_can_keep_its_original_as_written() -> None:
    assert replaced(HEADER, f'1,Mug,"{A},//c.example/3.jpg"')[1] == '1,Mug,"https://m/a,//c.example/3.jpg"'


def test_a_slot_without_an_image_can_have_an_image_of_the_client() -> None:
    assert replaced(HEADER, f'1,Mug,"{A};{C}"', on_failed="https://m/none.png")[1] == (
        '1,Mug,"https://m/a;https://m/none.png"'
    )


# -- further columns --------------------------------------------------------------------------------------------------


def test_further_renditions_and_details_are_added_after_the_columns_of_the_file() -> None:
    lines = [f"{HEADER},Note", f'1,"Mug",{A},x', f"2,Cup,{C}", f"3,Fork,{B},y,,"]
    output = written(
        read("\n".join(lines).encode()),
        {A: "https://m/a", B: "https://m/b"},
        renditions=["main", "thumb"],
        extended=True,
    )
    assert output.decode().split("\n") == [
        f"{HEADER},Note,Output Image Urls (thumb),{','.join(EXTENDED)}",
        '1,"Mug",https://m/a,x,https://m/a?thumb,succeeded,,9,4',
        f"2,Cup,{C},,{C},failed,http_404,9,4",
        "3,Fork,https://m/b,y,https://m/b?thumb,succeeded,,9,4",
    ]


def test_an_output_with_details_is_uploaded_again_without_more_columns() -> None:
    data = f"{HEADER}\n1,Mug,{A}\n".encode()
    first = written(read(data), {A: B}, renditions=["main", "thumb"], extended=True)
    again = written(read(first), {B: C}, renditions=["main", "thumb"], extended=True)
    assert again.decode() == first.decode().replace(B, C)


def test_a_spilled_list_becomes_one_cell_when_columns_follow() -> None:
    output = written(read(f"{HEADER}\n1,Mug,{A},{B}\n".encode()), {A: "X", B: "Y"}, renditions=["main", "thumb"])
    assert output.decode().split("\n")[1] == '1,Mug,"X,Y","X?thumb,Y?thumb"'


def test_a_spilled_list_stays_spilled_when_none_follow() -> None:
    assert replaced(HEADER, f"1,Mug,{A}, {B}")[1] == "1,Mug,https://m/a,https://m/b"


def test_formulas_are_escaped_in_rows_that_are_kept_as_text() -> None:
    output = written(read(f'{HEADER}\n1,"=cmd",{A}\n2,=x,{A}\n'.encode()), {A: "X"}, safe=True)
    assert output.decode().split("\n")[1:3] == ['1,"\'=cmd",X', "2,'=x,X"]


def test_details_are_recognised_at_the_end_when_there_is_no_output_column() -> None:
    first = written(read(f"{HEADER}\n1,Mug,{A}\n".encode()), {A: B}, extended=True)
    assert first.decode().split("\n")[0] == f"{HEADER},{','.join(EXTENDED)}"
    assert written(read(first), {B: C}, extended=True).decode() == first.decode().replace(B, C)


def test_blanks_before_a_url_that_is_not_quoted_stay() -> None:
    assert replaced(HEADER, f"1, Mug ,  {A}")[1] == "1, Mug ,  https://m/a"


# -- the text of a record ---------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(['"', '""', ",", "a", " ", "\n", "\r\n", "b"])))
@settings(max_examples=500)
def test_the_fields_of_a_record_are_those_of_the_csv_reader(parts: list[str]) -> None:
    text = "".join(parts)
    fields, after = split_record(text, ",")
    assert ",".join(fields) + after == text
    [cells, *_] = [*csv.reader(io.StringIO(text, newline=""), skipinitialspace=True), []]
    read_alone = [next(csv.reader(io.StringIO(field, newline=""), skipinitialspace=True), [""])[0] for field in fields]
    assert read_alone == (cells or [""])
    assert re.fullmatch(r"(\r\n|\n|\Z).*", after, re.DOTALL)

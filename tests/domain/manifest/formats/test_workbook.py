"""Workbooks: their cells as text, their sheets, and what is refused."""

import datetime as dt
import io
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pytest
import xlsxwriter

from imgsvc.domain.manifest.formats.workbook import column_letters
from imgsvc.domain.manifest.model import DEFAULT_LIMITS
from imgsvc.errors import LimitExceeded, Refusal
from support.workbooks import Convert, changed_member, workbook

SHEET = "xl/worksheets/sheet1.xml"
Refused = Callable[..., Refusal]


def ods(rows: str, *, mimetype: str = "spreadsheet", manifest: str = "<manifest/>") -> bytes:
    file = io.BytesIO()
    names = ("office", "table", "text")
    spaces = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in names)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", f"application/vnd.oasis.opendocument.{mimetype}")
        archive.writestr("META-INF/manifest.xml", manifest)
        archive.writestr(
            "content.xml",
            f"<office:document-content {spaces}><office:body><office:spreadsheet>"
            f'<table:table table:name="A">{rows}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )
    return file.getvalue()


def test_values_become_the_text_that_a_person_sees(table: Convert) -> None:
    day = dt.date(2024, 1, 31)
    header = ["SKU", "Number", "Price", "EAN", "Sale", "Day", "Sum"]
    data = workbook([header, ["00123", 12, 9.5, 4006381333931, True, day, 0.3]])
    read = table(changed_member(data, SHEET, "<v>0.3</v>", "<v>0.30000000000000004</v>"))  # as Excel stores 0.1 + 0.2
    assert read.rows == [header, ["00123", "12", "9.5", "4006381333931", "TRUE", "2024-01-31", "0.3"]]


def test_a_column_whose_texts_look_like_numbers_stays_text(table: Convert) -> None:
    read = table(workbook([["A", "B"], [12, 12], ["12", "00012"], ["x", "x"]]))
    assert read.converted.file_format.numbers == (1,)


def test_empty_leading_rows_and_columns_keep_the_row_numbers(table: Convert) -> None:
    read = table(workbook([[], [], ["", "Name", "Price"], ["", "Mug", 1], [], ["", "Cup", 2]]))
    assert read.rows == [["Name", "Price"], ["Mug", "1"], ["Cup", "2"]]
    assert read.numbers == [3, 4, 6]


def test_formulas_are_read_by_their_stored_results_and_errors_as_text(table: Convert) -> None:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    page = book.add_worksheet("A")
    page.write_row(0, 0, ["Name", "Total", "Ratio"])
    page.write_formula(1, 0, '="Mug"&"s"', value="Mugs")
    page.write_formula(1, 1, "=1+1", value=2)
    page.write_formula(1, 2, "=1/0", value="#DIV/0!")
    page.merge_range(2, 0, 2, 1, "merged")
    book.close()
    assert table(file.getvalue()).rows[1:] == [["Mugs", "2", "#DIV/0!"], ["merged"]]


def test_formulas_without_a_stored_result_are_named(refusal: Refused) -> None:
    data = workbook([["Name", "Total"], ["Mug", 41]])
    for number, stored in enumerate(("<f>A1</f></c>", "<f>A1</f><v></v></c>", "<f>A1</f><v/></c>")):
        changed = changed_member(data, SHEET, "<v>41</v></c>", stored)
        refused = refusal(changed)
        [problem] = refused.problems
        assert (problem.code, problem.row, problem.column) == ("formula_without_value", 2, "Total"), number
        assert "cell B2" in problem.detail
        assert "sheet `Products`, row 2" in refused.detail


def test_a_formula_whose_result_is_an_empty_text_is_accepted(table: Convert) -> None:
    data = workbook([["Name", "Total"], ["Mug", 41]])
    changed = changed_member(data, SHEET, "><v>41</v></c>", ' t="str"><f>""</f><v></v></c>')
    assert table(changed).rows[1] == ["Mug"]


def test_the_first_visible_sheet_is_read_or_the_one_that_is_named(table: Convert, refusal: Refused) -> None:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    for name in ("Settings", "Shoes", "Hats"):
        book.add_worksheet(name).write_row(0, 0, ["Sheet", name])
    book.get_worksheet_by_name("Shoes").activate()
    book.get_worksheet_by_name("Settings").hide()
    book.close()
    assert table(file.getvalue()).rows == [["Sheet", "Shoes"]]
    assert table(file.getvalue(), sheet="Settings").rows == [["Sheet", "Settings"]]
    assert table(file.getvalue(), sheet="Hats").converted.file_format.sheet == "Hats"
    [problem] = refusal(file.getvalue(), sheet="Caps").problems
    assert problem.code == "unknown_sheet"
    assert "`Settings`, `Shoes`, `Hats`" in problem.detail


def test_a_million_rows_that_are_only_formatted_are_skipped(table: Convert) -> None:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    page = book.add_worksheet("A")
    page.write_row(0, 0, ["Name", "Price"])
    page.write_row(1, 0, ["Mug", "1"])
    page.write_blank(1_048_575, 1, None, book.add_format({"bold": True}))
    book.close()
    assert table(file.getvalue()).rows == [["Name", "Price"], ["Mug", "1"]]


def test_limits_are_those_of_a_csv(refusal: Refused) -> None:
    rows = [["Name", "Images"], *(["Mug", "x" * 100] for _ in range(20))]
    assert "IMGSVC_MAX_ROWS" in refusal(workbook(rows), limits=replace(DEFAULT_LIMITS, max_rows=19)).detail
    assert "more than 39 cells" in refusal(workbook(rows), limits=replace(DEFAULT_LIMITS, max_cells=39)).detail
    assert "IMGSVC_MAX_UPLOAD_BYTES" in refusal(workbook(rows), max_bytes=2_000).detail
    wide = refusal(workbook([["x"] * 1_001]))
    assert isinstance(wide, LimitExceeded)
    assert "1,000 columns" in wide.detail
    blank = refusal(workbook([["Name"], ["Mug", *[""] * 1_000, " "]]))  # each row would be read with a thousand cells
    assert "Delete the empty ones" in blank.detail


def test_a_workbook_that_unpacks_to_gigabytes_is_refused_before_it_is_read(refusal: Refused) -> None:
    data = bytearray(workbook([["Name"], ["Mug"]]))
    entry = data.index(b"PK\1\2")
    data[entry + 24 : entry + 28] = struct.pack("<I", 2**31)  # the declared size of the first member
    assert "unpacks to more than" in refusal(bytes(data)).detail


def test_damaged_workbooks_are_refused(refusal: Refused) -> None:
    data = workbook([["Name"], ["Mug"]])
    for damaged in (data[: len(data) // 2], changed_member(data, SHEET, "<sheetData>", "<sheetData></wrong>")):
        assert refusal(damaged).problems[0].code == "damaged_file"


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("xl/workbook.bin", ".xlsb"),
        ("word/document.xml", "Word"),
        ("ppt/presentation.xml", "presentation"),
        ("Index/Document.iwa", "Numbers"),
    ],
)
def test_other_documents_in_a_zip_are_named(refusal: Refused, member: str, words: str) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, "x")
    assert words in refusal(file.getvalue()).problems[0].detail


def test_an_opendocument_sheet_is_read_by_its_values(table: Convert) -> None:
    cells = (
        '<table:table-row><table:table-cell office:value-type="string"><text:p>Name</text:p></table:table-cell>'
        '<table:table-cell office:value-type="string"><text:p>Price</text:p></table:table-cell></table:table-row>'
        '<table:table-row table:number-rows-repeated="2"><table:table-cell table:number-columns-repeated="2"/>'
        "</table:table-row>"
        '<table:table-row><table:table-cell office:value-type="string"><text:p>Mug</text:p></table:table-cell>'
        '<table:table-cell table:formula="of:=1+1" office:value-type="float" office:value="2"/></table:table-row>'
    )
    read = table(ods(cells))
    assert read.rows == [["Name", "Price"], ["Mug", "2"]]
    assert read.numbers == [1, 4]
    assert read.converted.file_format.numbers == (1,)


def ods_cell(content: str) -> bytes:
    """Return a sheet with the header `A` and one cell."""
    cells = ("<text:p>A</text:p>", content)
    row = '<table:table-row><table:table-cell office:value-type="string">{}</table:table-cell></table:table-row>'
    return ods("".join(map(row.format, cells)))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<text:p>a<text:tab/>b</text:p>", "a\tb"),
        ("<text:p>a<text:tab></text:tab>b</text:p>", "a\tb"),
        ('<text:p>a<text:tab text:tab-ref="3" />b</text:p>', "a\tb"),
        ('<text:p><text:span>a<text:tab/></text:span><text:s text:c="2"/>b</text:p>', "a\t  b"),
        ("<text:p>a<text:line-break/>b</text:p>", "a\nb"),
        ("<text:p>a</text:p><text:p/><text:p>b</text:p>", "a\n\nb"),
        ("<text:p>a<text:tabulator/>&lt;text:tab/&gt;b</text:p>", "a<text:tab/>b"),
    ],
)
def test_tabs_and_line_breaks_of_an_opendocument_sheet_are_text(table: Convert, content: str, text: str) -> None:
    assert table(ods_cell(content)).rows[1] == [text]


@pytest.mark.parametrize("offset", range(len("<text:tab/>") + 1))
def test_a_tab_is_found_between_two_chunks_of_an_opendocument_sheet(table: Convert, offset: int) -> None:
    with zipfile.ZipFile(io.BytesIO(ods_cell("<text:p>a<!---->"))) as archive:
        before = archive.read("content.xml").index(b"-->")
    comment = "x" * (2**20 - before - len("-->") - offset)
    assert table(ods_cell(f"<text:p>a<!--{comment}--><text:tab/>b</text:p>")).rows[1] == ["a\tb"]


def test_opendocument_files_that_cannot_be_read_are_named(refusal: Refused) -> None:
    formula = '<table:table-row><table:table-cell table:formula="of:=1+1"/></table:table-row>'
    assert refusal(ods(formula)).problems[0].code == "formula_without_value"
    assert "not a spreadsheet" in refusal(ods("", mimetype="text")).problems[0].detail
    assert refusal(ods("", manifest="<x><manifest:encryption-data/></x>")).problems[0].code == "encrypted"


def test_columns_have_the_letters_of_a_spreadsheet() -> None:
    assert [column_letters(number) for number in (0, 25, 26, 701, 702, 16_383)] == ["A", "Z", "AA", "ZZ", "AAA", "XFD"]

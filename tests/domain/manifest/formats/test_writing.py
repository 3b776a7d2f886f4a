"""Reports in other formats than CSV: what is written is read again as the same cells."""

import io
import json
import zipfile
from collections.abc import Callable, Sequence

import pytest

from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.formats.report_shape import ReportShape
from imgsvc.domain.manifest.formats.table import BY_NAME, CSV, FORMATS
from imgsvc.domain.manifest.formats.write_xlsx import MAX_CELL, MAX_LINKS, sheet_name
from support.workbooks import Convert, changed_member, workbook

HEADER = ["ID", "Name", "Note", "Output Image Urls"]
ODD = ["00123", "=1+1", " two  blanks ", "tab\there", "a\nb", "<b>&amp;</b>", '"q"', "12", "Ünïcødé 🛍", "-", "_x0041_"]
Write = Callable[..., bytes]


@pytest.fixture
def write() -> Write:
    """Return a function that writes rows in a format."""

    def written(
        name: str,
        header: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        links: Sequence[int] = (),
        facts: FileFormat | None = None,
        safe: bool = False,
    ) -> bytes:
        kind, shape = BY_NAME[name], ReportShape(header, links, facts or FileFormat(), safe=safe)
        if kind.write_text:
            text = kind.write_text(shape)
            return (text.begin() + text.rows(rows) + text.end()).encode()
        assert kind.write_file is not None
        target = io.BytesIO()
        writer = kind.write_file(target, shape)
        writer.rows(rows)
        writer.close()
        return target.getvalue()

    return written


def test_each_format_has_one_writer_and_a_name_that_is_its_extension() -> None:
    for kind in FORMATS:
        assert f".{kind.name}" == kind.extensions[0]
        assert (kind is CSV) + bool(kind.write_text) + bool(kind.write_file) == 1


@pytest.mark.parametrize("name", ["xlsx", "ods", "jsonl", "xml"])
def test_cells_come_back_as_they_were(table: Convert, write: Write, name: str) -> None:
    rows = [[text, "x", "", "https://img.example/1.jpg"] for text in ODD]
    read = table(write(name, HEADER, rows))
    expected = ["id", "name", "output_image_urls"] if name == "xml" else HEADER
    if name in ("jsonl", "xml"):  # empty cells are not written
        assert [name for name in read.rows[0] if name not in ("note", "Note")] == [
            name for name in expected if name != "Note"
        ]
        rows = [[row[0], row[1], row[3]] for row in rows]
    assert read.rows[1:] == rows


@pytest.mark.parametrize("name", ["xlsx", "ods"])
@pytest.mark.parametrize(
    "text",
    ["a\tb", "\ta", "a\t", "a\t\tb", "a  b", "a     b", "  a", "a  ", "a\nb", "a\n\nb", "a\n", "\na", "a \t\n \n\tb "],
)
def test_blanks_of_every_kind_come_back_from_a_workbook(table: Convert, write: Write, name: str, text: str) -> None:
    assert table(write(name, ["A"], [[text]])).rows[1] == [text]


def test_rich_text_that_looks_like_xml_stays_text_in_a_workbook(table: Convert, write: Write) -> None:
    row = ["1", "<r><t>bold</t></r>", "<r>&</r>", ""]
    assert table(write("xlsx", HEADER, [row])).rows[1] == row[:3]


@pytest.mark.parametrize("name", ["xlsx", "ods"])
def test_numbers_dates_and_booleans_of_a_workbook_are_values_again(table: Convert, write: Write, name: str) -> None:
    facts = FileFormat(numbers=(0, 1), dates=(1,), booleans=(2,), sheet="My shoes")
    rows = [["12", "2024-01-31", "TRUE"], ["9.5", "2024-01-31 13:05:00", "FALSE"], ["00012", "0.1", "yes"]]
    read = table(write(name, ["A", "B", "C"], rows, facts=facts))
    assert read.rows[1:] == rows
    found = read.converted.file_format
    assert (found.numbers, found.dates, found.booleans) == ((0, 1), (1,), (2,))
    assert found.sheet == "My shoes"


def test_a_date_before_1900_is_text_in_a_workbook(table: Convert, write: Write) -> None:
    rows = [["1899-12-31"], ["1900-02-28"], ["1900-03-01"]]
    read = table(write("xlsx", ["A"], rows, facts=FileFormat(dates=(0,))))
    assert read.rows[1:] == rows


def test_output_urls_are_links_until_a_sheet_has_as_many_as_excel_allows(table: Convert, write: Write) -> None:
    rows = [["1", "x", "", f"https://img.example/{number}.jpg"] for number in range(MAX_LINKS + 2)]
    data = write("xlsx", HEADER, rows, links=[3])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
        targets = archive.read("xl/worksheets/_rels/sheet1.xml.rels").decode()
    assert sheet.count("<hyperlink ") == targets.count("<Relationship ") == MAX_LINKS == 65_530
    assert f'ref="D{MAX_LINKS + 1}"' in sheet
    assert f'ref="D{MAX_LINKS + 2}"' not in sheet
    assert table(data).rows[1:] == rows


def test_several_output_urls_in_a_cell_are_text(write: Write) -> None:
    cell = "https://img.example/1.jpg,https://img.example/2.jpg"
    data = write("xlsx", HEADER, [["1", "x", "", cell]], links=[3])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert cell in archive.read("xl/worksheets/sheet1.xml").decode()
        assert "<hyperlink" not in archive.read("xl/worksheets/sheet1.xml").decode()


def test_a_cell_over_excels_limit_is_cut_with_a_notice(table: Convert, write: Write) -> None:
    cell = table(write("xlsx", ["A"], [["x" * (MAX_CELL + 1)]])).rows[1][0]
    assert len(cell) == MAX_CELL
    assert cell.endswith("32,767 characters)")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, "Products"),
        ("A/B: [x]?", "A B   x"),
        ("'quoted'", "quoted"),
        ("History", "Products"),
        ("x" * 40, "x" * 31),
    ],
)
def test_a_sheet_gets_a_name_that_excel_accepts(name: str | None, expected: str) -> None:
    assert sheet_name(name) == expected


def test_control_characters_do_not_break_a_spreadsheet(table: Convert, write: Write) -> None:
    assert table(write("ods", ["A"], [["a\x01b\x0b"]])).rows[1] == ["ab"]
    assert table(write("xml", ["A"], [["a\x01b\x0b"]])).rows[1] == ["ab"]


def test_tabs_and_blanks_are_elements_of_an_opendocument_sheet(write: Write) -> None:
    """Readers other than calamine collapse several blanks, and drop those at the ends of a paragraph."""
    with zipfile.ZipFile(io.BytesIO(write("ods", ["A"], [["a\tb"], [" c   d "]]))) as archive:
        assert archive.infolist()[0].filename == "mimetype"
        content = archive.read("content.xml").decode()
    assert "<text:p>a<text:tab/>b</text:p>" in content
    assert '<text:p><text:s text:c="1"/>c <text:s text:c="2"/>d<text:s text:c="1"/></text:p>' in content


def test_tab_separated_values_are_quoted_only_if_the_upload_was(write: Write) -> None:
    rows = [['"Best" mug', "two\tcells", "line\nbreak"]]
    header = ["A", "B", "C"]
    assert write("tsv", header, rows) == b'A\tB\tC\r\n"""Best"" mug"\t"two\tcells"\t"line\nbreak"\r\n'
    bare = FileFormat(bare_quotes=True)
    assert write("tsv", header, rows, facts=bare) == b'A\tB\tC\r\n"Best" mug\ttwo cells\tline break\r\n'
    assert write("tsv", ["A"], [["=1+1"]], safe=True) == b"A\r\n'=1+1\r\n"


def test_json_lines_come_back_with_their_kinds_of_values(table: Convert, write: Write) -> None:
    lines = [
        '{"id": 1, "price": 9.90, "tags": ["a", "b"], "sale": null, "note": "", "size": {"w": 1e3}, "ok": true}',
        '{"id": 2, "price": 12, "tags": [], "sale": null, "note": "x", "ok": false}',
    ]
    read = table("\n".join(lines).encode())
    rows = [[*row, *[""] * (len(read.rows[0]) - len(row))] for row in read.rows[1:]]
    assert write("jsonl", read.rows[0], rows, facts=read.converted.file_format).decode().splitlines() == lines


def test_json_texts_that_look_like_values_stay_texts(table: Convert, write: Write) -> None:
    lines = ['{"id": "12", "x": "true"}', '{"id": 12, "x": "[1]"}']
    read = table("\n".join(lines).encode())
    written = write("jsonl", read.rows[0], read.rows[1:], facts=read.converted.file_format).decode().splitlines()
    assert [json.loads(line) for line in written] == [{"id": "12", "x": "true"}, {"id": "12", "x": "[1]"}]


def test_output_urls_are_a_list_if_the_image_urls_were(write: Write) -> None:
    facts = FileFormat(format="jsonl", lists=(1,), json_values=(1,))
    row = ["1", '["https://a.example/1"]', "https://img.example/1.jpg,,https://img.example/3.jpg"]
    [line] = write("jsonl", ["id", "images", "out"], [row], links=[2], facts=facts).decode().splitlines()
    assert json.loads(line)["out"] == ["https://img.example/1.jpg", None, "https://img.example/3.jpg"]
    assert json.loads(line)["images"] == ["https://a.example/1"]


def test_a_workbook_with_macros_is_read_without_them(table: Convert) -> None:
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
    macro = "application/vnd.ms-excel.sheet.macroEnabled.main+xml"
    data = changed_member(workbook([["A"], ["x"]]), "[Content_Types].xml", kind, macro)
    assert table(data).rows == [["A"], ["x"]]

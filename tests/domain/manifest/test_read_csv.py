"""Reading an uploaded CSV: products and assets, or a list of every problem."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgsvc.domain.manifest.read_csv import Columns, Manifest, ManifestLimits, OnInvalid, read_manifest
from imgsvc.errors import InvalidManifest, LimitExceeded, Refusal

HEADER = "S. No.,Product Name,Input Image Urls"
A, B, C = "https://a.example/1.jpg", "https://b.example/2.jpg", "https://c.example/3.jpg"


def csv_of(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def urls_of(manifest: Manifest) -> list[list[str]]:
    return [[manifest.assets[slot] for slot in product.slots] for product in manifest.products]


def refusal_of(data: bytes, *, columns: Columns | None = None) -> InvalidManifest:
    with pytest.raises(InvalidManifest) as caught:
        read_manifest(data, columns=columns)
    return caught.value


def codes_of(data: bytes) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.row) for problem in refusal_of(data).problems]


# -- the file ---------------------------------------------------------------------------------------------------------


def test_a_manifest_is_products_in_order_and_distinct_assets() -> None:
    manifest = read_manifest(csv_of(f'1,Mug,"{A},{B}"', f'2,Cup,"{B}, {C}, {B}"'))
    assert [product.slots for product in manifest.products] == [(0, 1), (1, 2, 1)]
    assert manifest.assets == [A, B, C]
    assert manifest.url_count == 5
    assert manifest.products[1][:3] == ("2", "Cup", ("2", "Cup", f"{B}, {C}, {B}"))
    assert (manifest.header, manifest.file_format.url_columns) == (("S. No.", "Product Name", "Input Image Urls"), (2,))
    assert (manifest.warnings, manifest.invalid) == ([], {})


@pytest.mark.parametrize(
    ("encoding", "reported"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("cp1252", "cp1252")],
)
def test_the_encoding_is_detected_and_reported(encoding: str, reported: str) -> None:
    manifest = read_manifest(f"{HEADER}\n1,Größe 5 € – neu,{A}\n".encode(encoding))
    assert manifest.encoding == reported
    assert manifest.header[0] == "S. No."
    assert manifest.products[0].product_name == "Größe 5 € – neu"


def test_big_endian_utf_16_is_read_by_its_mark() -> None:
    assert urls_of(read_manifest(b"\xfe\xff" + f"{HEADER}\n1,é,{A}".encode("utf-16-be"))) == [[A]]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_any_line_end_is_recognised(line_end: str) -> None:
    manifest = read_manifest(line_end.join([HEADER, f'1,"Mug{line_end}blue",{A}', f"2,Cup,{B}"]).encode())
    assert [product.product_name for product in manifest.products] == [f"Mug{line_end}blue", "Cup"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel"),
        (b"%PDF-1.7", "PDF"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"\xff\xd8\xff\xe0", "image"),
        (b"\n<!DOCTYPE html>", "web page"),
    ],
)
def test_another_type_of_file_is_named(data: bytes, sentence: str) -> None:
    (problem,) = refusal_of(data).problems
    assert problem.code == "not_a_csv"
    assert sentence in problem.detail


@pytest.mark.parametrize(
    ("data", "code", "row"),
    [
        *((data, "empty_file", None) for data in (b"", b"\n \r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"sep=;\n")),
        (csv_of(), "no_rows", None),
        (csv_of("", ",,"), "no_rows", None),
        (csv_of("1,Mug,", "2,Cup"), "no_urls", None),
        (csv_of(f"1,M\0ug,{A}"), "nul_byte", 2),
        (f"{HEADER}\n1,Mug,{A}".encode("utf-16-le"), "nul_byte", 1),
        (csv_of(f"1,Mug,{A}") + b"2,\x81,x", "undecodable", 3),
        (b"\xff\xfea", "undecodable", 1),
        (f"1,Mug,{A}\n2,Cup,{B}\n".encode(), "no_header", 1),
        (csv_of(f"1,Mug,{A}", header=HEADER.replace("P", '"P')), "unclosed_quote", 1),
        (csv_of(f'1,Mug,"{A}', f"2,Cup,{B}"), "unclosed_quote", 2),
        (csv_of(f"1,Mug,{A}", '2,"Cup,x', *["3,x,y"] * 5000, '4,"'), "unclosed_quote", 3),
        (csv_of(f'1,"Mug,{A}', f'2,"Cup",{B}', f"3,Jar,{C}"), "unclosed_quote", 2),
    ],
)
def test_a_file_that_cannot_be_read_names_the_reason_and_the_line(data: bytes, code: str, row: int | None) -> None:
    assert codes_of(data) == [(code, row)]


def test_the_line_named_is_where_the_record_begins() -> None:
    data = csv_of("", f'1,"Mug\n\nblue",{A}', "", "2,Cup,ftp://x")
    assert codes_of(data) == [("invalid_url", 7)]
    assert "(line 7)" in refusal_of(data).detail


# -- delimiter and header ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_splits_the_header(delimiter: str) -> None:
    rows = [["S. No.", "Product Name", "Input Image Urls", "Note"], ["1", "Mug", f'"{A},{B};{C}"', "a b"]]
    manifest = read_manifest("\n".join(delimiter.join(row) for row in rows).encode())
    assert manifest.delimiter == delimiter
    assert urls_of(manifest) == [[A, B, C]]


def test_a_header_whose_quotes_only_pair_up_with_its_own_delimiter_is_read() -> None:
    header = 'S. No.;Size (a, "b);Product Name;Input Image Urls'
    assert urls_of(read_manifest(csv_of(f"1;x;Mug;{A}", header=header))) == [[A]]


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;\r"])
def test_a_sep_line_defines_the_delimiter_and_counts_as_a_line(line: str) -> None:
    data = f"{line}\nID;Name;Images\n1;Mug;{A}\n2;Cup;nowhere".encode()
    assert codes_of(data) == [("invalid_url", 4)]


def test_a_sep_line_is_followed_even_if_it_is_wrong() -> None:
    assert {code for code, _ in codes_of(f"sep=;\nID,Name,Images\n1,Mug,{A}".encode())} == {"missing_column"}


@pytest.mark.parametrize(
    "serial", ["S. No.", "S.No", "Sno.", "Sr. No.", "Serial Number", "serial_number", "No", "ID", "#"]
)
@pytest.mark.parametrize("name", ["Product Name", "product_name", "Product", "Name", "SKU", "Title", "Handle"])
def test_every_common_header_is_recognised(serial: str, name: str) -> None:
    usual = "Input Image Urls,Input Image URLs,Input_Image_Urls,inputImageUrls,image_urls,Images,Image Src,image_link"
    for urls in [*usual.split(","), "additional_images"]:
        manifest = read_manifest(csv_of(f"{A},Mug,7", header=f"{urls},{name},{serial}"))
        assert manifest.products[0][:2] == ("7", "Mug")
        assert manifest.file_format.url_columns == (0,)


def test_the_better_of_two_headers_wins() -> None:
    header = "Handle,Title,ID,Image,Input Image Urls"
    manifest = read_manifest(csv_of(f"mug-1,Mug,9,,{A}", header=header))
    assert manifest.products[0][:2] == ("9", "Mug")


def test_missing_columns_name_what_was_expected_and_what_was_found() -> None:
    refusal = refusal_of(b"\n\nid,colour,pictures\n1,red,x\n")
    assert [(p.code, p.row, p.column) for p in refusal.problems] == [
        ("missing_column", 3, "product_name"),
        ("missing_column", 3, "image_urls"),
    ]
    assert "`Input Image Urls`" in refusal.problems[1].detail
    assert "`id`, `colour`, `pictures`" in refusal.problems[1].detail


def test_two_columns_for_the_same_role_are_refused() -> None:
    (problem,) = refusal_of(csv_of(f"1,Mug,{A},Cup", header=HEADER + ",product_name")).problems
    assert (problem.code, problem.row, problem.column) == ("duplicate_column", 1, "Product Name")


def test_the_columns_field_maps_any_catalogue() -> None:
    columns = Columns(serial_number="Artikel", product_name="Größe", image_urls="BILD-1")
    manifest = read_manifest(csv_of(f"1,2,{A},7,x", header="S. No.,Product Name,Bild 1,artikel,größe"), columns=columns)
    assert manifest.products[0][:2] == ("7", "x")
    assert urls_of(manifest) == [[A]]


def test_a_name_in_the_columns_field_matches_exactly_before_it_matches_loosely() -> None:
    columns = Columns(serial_number="id", product_name="n", image_urls="u")
    assert read_manifest(csv_of(f"1,2,x,{A}", header="ID,id,n,u"), columns=columns).products[0].serial_number == "2"
    (problem,) = refusal_of(csv_of(f"1,2,x,{A}", header="ID,i-d,n,u"), columns=columns).problems
    assert problem.code == "duplicate_column"


def test_a_missing_column_of_the_columns_field_is_named() -> None:
    columns = Columns(serial_number=None, product_name="Titel", image_urls="画像")
    problems = refusal_of(csv_of(f"1,Mug,{A}"), columns=columns).problems
    assert [(problem.code, problem.column) for problem in problems] == [
        ("missing_column", "product_name"),
        ("missing_column", "image_urls"),
    ]
    assert "`画像`" in problems[1].detail


def test_null_for_the_serial_number_numbers_the_products() -> None:
    columns = Columns(serial_number=None, product_name="SKU", image_urls="Images")
    manifest = read_manifest(csv_of(f"x,{A}", ",", f"y,{B}", header="SKU,Images"), columns=columns)
    assert [product.serial_number for product in manifest.products] == ["1", "2"]


# -- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_an_unquoted_list_in_the_last_column_is_joined_again(delimiter: str) -> None:
    header = HEADER.replace(",", delimiter) + delimiter
    manifest = read_manifest(csv_of(delimiter.join(["1", "Mug", A, B, C, "", ""]), header=header))
    assert urls_of(manifest) == [[A, B, C]]
    assert manifest.products[0].cells == ("1", "Mug", delimiter.join([A, B, C]))
    assert len(manifest.header) == 3


def test_an_unquoted_url_with_commas_in_the_last_column_stays_whole() -> None:
    url = "https://res.example/w_300,h_200/x.jpg"
    assert urls_of(read_manifest(csv_of(f"1,Mug,{url},{A}"))) == [[url, A]]


def test_cells_beyond_the_header_are_kept_with_a_warning_when_another_column_is_last() -> None:
    manifest = read_manifest(csv_of(f"{A},1,Mug,x,y,,", f"{B},2,Cup,,", header="Images,ID,Name"))
    assert manifest.header == ("Images", "ID", "Name", "", "")
    assert manifest.products[0].cells == (A, "1", "Mug", "x", "y")
    assert [(warning.code, warning.row) for warning in manifest.warnings] == [("extra_cells", 2)]
    assert urls_of(manifest) == [[A], [B]]


def test_a_short_row_is_padded() -> None:
    manifest = read_manifest(csv_of("1", f"2,Cup,{A}", header=HEADER + ",Note"))
    assert manifest.products[0].cells == ("1", "", "", "")
    assert manifest.products[1].cells == ("2", "Cup", A, "")


def test_blank_rows_are_skipped_and_a_serial_may_be_any_text() -> None:
    manifest = read_manifest(csv_of("", f"1.,Mug,{A}", ",,", " , ,\t", f"A-2 , Cup ,{B}"))
    assert [product[:2] for product in manifest.products] == [("1.", "Mug"), ("A-2", "Cup")]


def test_blanks_after_a_comma_do_not_hide_a_quoted_list() -> None:
    assert urls_of(read_manifest(csv_of(f'1, Mug, "{A}, {B}"'))) == [[A, B]]


def test_questionable_rows_are_warnings() -> None:
    manifest = read_manifest(csv_of(f"1,Mug,{A}", f"1,,{B}", ",Jar,"))
    assert [(warning.code, warning.row, warning.value) for warning in manifest.warnings] == [
        ("repeated_serial_number", 3, "1"),
        ("missing_product_name", 3, None),
        ("missing_serial_number", 4, None),
        ("product_without_url", 4, None),
    ]
    assert manifest.warnings_total == 4
    assert len(manifest.products) == 3


def test_a_hundred_warnings_are_listed_and_all_are_counted() -> None:
    manifest = read_manifest(csv_of(*[f"1,Mug,{A}"] * 251))
    assert (len(manifest.warnings), manifest.warnings_total) == (100, 250)


def test_urls_without_a_scheme_are_completed_in_the_asset_and_kept_in_the_cell() -> None:
    manifest = read_manifest(csv_of("1,Mug,//a.example/x", "2,Cup,WWW.b.example", "3,Jar,https://a.example/x"))
    assert manifest.assets == ["https://a.example/x", "https://WWW.b.example"]
    assert [product.slots for product in manifest.products] == [(0,), (1,), (0,)]
    assert manifest.products[0].cells[2] == "//a.example/x"


# -- invalid addresses ------------------------------------------------------------------------------------------------


def test_every_invalid_url_is_listed_with_its_row_and_value() -> None:
    long = "https://a.example/" + "x" * 2048
    refusal = refusal_of(csv_of(f'1,Mug,"{A}, nowhere"', f"2,Cup,{long}", "3,Jar,nowhere"))
    assert [(p.code, p.row, p.column, p.value) for p in refusal.problems] == [
        ("invalid_url", 2, "Input Image Urls", "nowhere"),
        ("url_too_long", 3, "Input Image Urls", long[:200]),
        ("invalid_url", 4, "Input Image Urls", "nowhere"),
    ]
    assert refusal.problems_total == 3


def test_a_hundred_problems_are_listed_all_are_counted_and_the_worst_comes_first() -> None:
    refusal = refusal_of(csv_of(*[f"{row},Mug,nowhere" for row in range(150)], f'9,"Cup,{A}'))
    assert (len(refusal.problems), refusal.problems_total) == (100, 151)
    assert (refusal.problems[0].code, refusal.problems[0].row) == ("unclosed_quote", 152)


def test_a_skipped_invalid_url_keeps_its_slot() -> None:
    long = "https://a.example/" + "x" * 2048
    manifest = read_manifest(csv_of(f'1,Mug,"{A}, nowhere, {B}, {long}"', "2,Cup,nowhere"), on_invalid="skip")
    assert manifest.assets == [A, "nowhere", B, long]
    assert [product.slots for product in manifest.products] == [(0, 1, 2, 3), (1,)]
    assert sorted(manifest.invalid) == [1, 3]
    assert "http://" in manifest.invalid[1]
    assert "2,048" in manifest.invalid[3]


def test_a_manifest_with_only_invalid_urls_is_accepted_with_skip() -> None:
    assert read_manifest(csv_of("1,Mug,nowhere"), on_invalid="skip").invalid.keys() == {0}


# -- limits -----------------------------------------------------------------------------------------------------------

LIMITS = ManifestLimits(max_rows=3, max_assets=4, max_urls_per_row=3, max_cells=14)


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([f"{row},x,{A}" for row in range(4)], "3 rows (setting IMGSVC_MAX_ROWS)"),
        ([f'1,x,"{A},{B},{C}"', f'2,y,"{A}1,{A}2"'], "4 distinct URLs (setting IMGSVC_MAX_ASSETS)"),
        ([f'1,x,"{A},{A},{A},{A}"'], "3 URLs (setting IMGSVC_MAX_URLS_PER_ROW)"),
    ],
)
def test_an_exceeded_limit_is_named_with_its_setting(rows: list[str], named: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        read_manifest(csv_of(*rows), limits=LIMITS)
    assert named in caught.value.detail
    assert [(problem.code, problem.row) for problem in caught.value.problems] == [("limit_exceeded", len(rows) + 1)]


def test_a_manifest_exactly_at_the_limits_is_accepted() -> None:
    rows = [f'1,x,"{A},{B},{C}"', f'2,y,"{A},{A}1,{B}"', f"3,z,{C}"]
    assert read_manifest(csv_of(*rows), limits=LIMITS).url_count == 7


@pytest.mark.parametrize(
    "data",
    [
        csv_of(f"1,{'x' * 140_000},{A}"),
        csv_of(",".join(["x" * 100_000] * 21)),
        csv_of("1," * 1_001),
        csv_of(f"1,x,{A}", header=HEADER + ",x" * 1_000),
        HEADER.encode() + b"\n" * 2_000_001,
        csv_of(*["1"] * 10_001, header=HEADER + ",x" * 996),
    ],
    ids=["cell", "row", "cells in a row", "columns", "lines", "cells"],
)
def test_a_file_that_would_exhaust_the_memory_exceeds_a_limit(data: bytes) -> None:
    limits = ManifestLimits(max_cells=9_990_000)
    with pytest.raises(LimitExceeded, match=r"more than|at most"):
        read_manifest(data, limits=limits)


# -- anything ---------------------------------------------------------------------------------------------------------

CELLS = st.text(alphabet=st.one_of(st.sampled_from(",;|\t\n\r\"'= .:/w"), st.characters(codec="utf-8")), max_size=20)
PIECES = st.one_of(
    st.sampled_from([A, B, C, "//x", "www.y", "ftp://z", '"', ",", "\n", "\r\n", ";", "\0", "\ufeff"]), CELLS
)


def check(data: bytes, on_invalid: OnInvalid) -> None:
    try:
        manifest = read_manifest(data, on_invalid=on_invalid)
    except Refusal as refusal:
        assert isinstance(refusal, InvalidManifest | LimitExceeded)
        assert 1 <= len(refusal.problems) <= min(100, refusal.problems_total)
        assert all(problem.code and problem.detail for problem in refusal.problems)
    else:
        assert manifest.url_count == sum(len(product.slots) for product in manifest.products) > 0
        assert {slot for product in manifest.products for slot in product.slots} == set(range(len(manifest.assets)))
        assert len(set(manifest.assets)) == len(manifest.assets)
        assert not (manifest.invalid and on_invalid == "reject")
        assert all(len(product.cells) <= len(manifest.header) for product in manifest.products)


@given(st.binary(), st.sampled_from(["reject", "skip"]))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes, on_invalid: OnInvalid) -> None:
    check(data, on_invalid)
    check(HEADER.encode() + b"\n" + data, on_invalid)


@given(
    st.sampled_from(["", "sep=;\n", "\n"]),
    st.sampled_from([HEADER, HEADER + ",Note", "id;name;images", "Image Src|Title|Handle|ID"]),
    st.lists(PIECES).map("".join),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["reject", "skip"]),
)
@settings(deadline=None, max_examples=300)
def test_any_text_is_read_or_refused(sep: str, header: str, text: str, encoding: str, on_invalid: OnInvalid) -> None:
    check(f"{sep}{header}\n{text}".encode(encoding), on_invalid)


def test_thousands_of_names_in_other_scripts_take_no_longer_than_others() -> None:
    """IDNA takes a millisecond per name, which for these would block every request for a minute."""
    rows = "".join(f"{number},Shoe,http://{'ü' * 50}{number}.example/a.jpg\n" for number in range(20_000))
    manifest = read_manifest(("S. No.,Product Name,Input Image Urls\n" + rows).encode())
    assert len(manifest.assets) == 20_000

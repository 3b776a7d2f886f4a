"""CSV files from other sources, if the folder with them exists, and similar ones of our own: every URL is read."""

import csv
import io
import re

import pytest

from imgsvc.domain.manifest.read_csv import Columns, read_manifest
from imgsvc.errors import InvalidManifest
from support.paths import CORPORA

CORPUS = CORPORA / "csv"

BASIC_HEADER = b"S. No.,Product Name,Input Image Urls\r\n"
BASIC_CSVS = {
    "quoted": BASIC_HEADER
    + b'1.,SKU1,"https://a.example/1.jpg, https://a.example/2"\r\n2.,SKU2,"https://a.example/1.jpg"',
    "unquoted": BASIC_HEADER
    + b"1,SKU1,https://a.example/1,https://a.example/2,http://b.example/3\n\n2,SKU2,https://c.example\n",
}
CATALOGS = {
    "a row per image": b"Handle,Title,Tags,Image Src,Image Position,Variant Image\n"
    b'mug,Mug,"a, b",https://a.example/1.jpg,1,https://a.example/9.jpg\nmug,,,https://a.example/2.jpg,2,\nmug,,,,,\n',
}
GENERAL = {
    "plain": b"a,b,c\n1,2,3\n",
    "quotes and line ends": b'a,b\r\n1,"ha\r\n""ha"" \r\nha"\r\n3,4\r\n',
    "ragged": b"a,b,c\n1,27,,too long\n,too short\n",
    "utf-16": "a,b,c\n1,2,ʤ\n".encode("utf-16"),
    "cp1252": "a,b\n1,37°36'\n".encode("cp1252"),
}


def cases(folder: str, made: dict[str, bytes]) -> list[object]:
    files = sorted((CORPUS / folder).glob("*.csv"))
    found = [pytest.param(path.read_bytes(), id=f"{folder}/{path.name}") for path in files]
    return [*found, *(pytest.param(data, id=name) for name, data in made.items())]


def urls_of(data: bytes, columns: Columns | None = None) -> list[str]:
    manifest = read_manifest(data, columns=columns)
    return [manifest.assets[slot] for product in manifest.products for slot in product.slots]


@pytest.mark.parametrize("data", cases("brief", BASIC_CSVS))
def test_every_url_of_a_basic_csv_is_read_in_order(data: bytes) -> None:
    assert urls_of(data) == re.findall(r'https?://[^\s,"]+', data.decode())


@pytest.mark.parametrize("data", cases("brief", BASIC_CSVS))
def test_every_product_of_a_basic_csv_is_read(data: bytes) -> None:
    serials = re.findall(r'^"?(\d+\.?)"?,', data.decode(), re.MULTILINE)
    assert [product.serial_number for product in read_manifest(data).products] == serials


@pytest.mark.parametrize("data", cases("catalog", CATALOGS))
def test_a_catalogue_is_read_with_the_given_columns(data: bytes) -> None:
    rows = [row for row in csv.DictReader(io.StringIO(data.decode())) if any(row.values())]
    columns = Columns(serial_number="Handle", product_name="Title", image_urls="Image Src")
    assert urls_of(data, columns) == [row["Image Src"] for row in rows if row["Image Src"]]
    products = read_manifest(data, columns=columns).products
    assert [product[:2] for product in products] == [(row["Handle"], row["Title"]) for row in rows]


@pytest.mark.parametrize("data", cases("catalog", CATALOGS))
def test_a_shopify_catalogue_is_read_without_columns_and_with_both_image_columns(data: bytes) -> None:
    rows = [row for row in csv.DictReader(io.StringIO(data.decode())) if any(row.values())]
    manifest = read_manifest(data)
    assert manifest.file_format.preset == "shopify"
    assert [product[:2] for product in manifest.products] == [(row["Handle"], row["Title"]) for row in rows]
    assert urls_of(data) == [row[name] for row in rows for name in ("Image Src", "Variant Image") if row[name]]
    assert not {warning.code for warning in manifest.warnings} & {"repeated_serial_number", "missing_product_name"}


@pytest.mark.parametrize("data", cases("general", GENERAL))
def test_a_table_without_the_required_columns_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidManifest) as caught:
        read_manifest(data)
    assert {problem.code for problem in caught.value.problems} == {"missing_column"}
    assert all(problem.row for problem in caught.value.problems)


@pytest.mark.parametrize("data", cases("general", GENERAL))
def test_the_rows_of_any_table_are_kept_cell_by_cell(data: bytes) -> None:
    encoding = "utf-16" if data[:1] in b"\xfe\xff" else "utf-8-sig"
    text = data.decode(encoding) if b"\xb0" not in data else data.decode("cp1252")
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if any(row)]
    columns = Columns(serial_number=None, product_name=rows[0][0], image_urls=rows[0][0])
    try:
        manifest = read_manifest(data, columns=columns, on_invalid="skip")
    except InvalidManifest as refusal:
        assert {problem.code for problem in refusal.problems} <= {"no_urls", "no_rows"}
        assert not any(row[0] for row in rows[1:])
    else:
        assert list(manifest.header[: len(rows[0])]) == rows[0]
        kept = [[cell for cell in product.cells if cell] for product in manifest.products]
        assert kept == [[cell for cell in row if cell] for row in rows[1:]]

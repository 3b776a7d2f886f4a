"""Invalid uploads: each is refused with a problem that describes the error, and nothing is stored."""

import io
import zipfile
from dataclasses import dataclass

import httpx
import pytest

from imgsvc.settings.server import Settings
from support.api_calls import CSV, HEADER, NOTHING, ONE_ROW, catalogue, problem, rows_stored
from support.origin_server import image_bytes


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


def other_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("notes.md", "<Types/>")
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class BadUpload:
    """An upload, the code of its first error, and text that its detail must contain."""

    data: bytes
    code: str
    detail: str


BAD = {
    "empty": BadUpload(b"", "empty_file", "empty"),
    "blank": BadUpload(b" \r\n\r\n\t\n", "empty_file", "empty"),
    "header only": BadUpload(b"S. No.,Product Name,Input Image Urls\n", "no_rows", "no rows"),
    "no header": BadUpload(b"1,Shoe,https://shop.example/a.jpg\n", "no_header", "first row"),
    "wrong columns": BadUpload(b"colour,size\nred,42\n", "missing_column", "found `colour`, `size`"),
    "two of one column": BadUpload(
        b"S. No.,Name,Name,Images\n1,a,b,https://s.example/a.jpg\n", "duplicate_column", "2 col"
    ),
    "no url at all": BadUpload(
        b"S. No.,Product Name,Input Image Urls\n1,Shoe,\n", "no_urls", "No row has an image URL"
    ),
    "png": BadUpload(image_bytes(8, 8, "PNG"), "not_a_csv", "image"),
    "another zip": BadUpload(other_zip(), "missing_column", "<Types/>"),
    "pdf": BadUpload(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "not_a_csv", "PDF"),
    "web page": BadUpload(b"<!DOCTYPE html><h1>Log in</h1>", "not_a_csv", "web page"),
    "nul": BadUpload(b"S. No.,Product Name,Input Image Urls\n1,Sh\0oe,https://s.example/a.jpg\n", "nul_byte", "NUL"),
    "unknown encoding": BadUpload(
        b"S. No.,Product Name,Input Image Urls\n1,\x81\x8d,https://s.example\n", "undecodable", "8"
    ),
    "half of utf-16": BadUpload(b"\xff\xfeS\0.\0 \0N", "undecodable", "text"),
    "open quote": BadUpload(
        b'S. No.,Product Name,Input Image Urls\n1,"Shoe,https://s.example/\n', "unclosed_quote", "never"
    ),
    "no url": BadUpload(b"S. No.,Product Name,Input Image Urls\n1,Shoe,see website\n", "invalid_url", "http"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("as_form", [True, False], ids=["form", "body"])
async def test_a_bad_file_is_refused_with_its_reason(
    client: httpx.AsyncClient, settings: Settings, bad: BadUpload, as_form: bool
) -> None:
    if as_form:
        refused = await client.post("/v1/batches", files={"file": ("a.csv", bad.data)})
    else:
        refused = await client.post("/v1/batches", content=bad.data, headers=CSV)
    body = problem(refused, 422, "invalid-manifest")
    assert body["errors"][0]["code"] == bad.code
    assert bad.detail in body["errors"][0]["detail"]
    assert body["errors"][0]["detail"] in body["detail"]
    assert await rows_stored(settings) == NOTHING


async def test_every_bad_url_is_listed_with_row_column_and_value(client: httpx.AsyncClient, settings: Settings) -> None:
    text = catalogue(
        ("1", "Shoe", "https://shop.example/ok.jpg"),
        ("2", "Hat", "htp:/shop.example/a.jpg"),
        ("3", "Bag", "https://shop.example/ok.jpg, https:///no-host.jpg"),
    )
    body = problem(await client.post("/v1/batches", content=text, headers=CSV), 422, "invalid-manifest")
    found = [(error["row"], error["column"], error["code"], error["value"]) for error in body["errors"]]
    assert found == [
        (3, HEADER[2], "invalid_url", "htp:/shop.example/a.jpg"),
        (4, HEADER[2], "invalid_url", "https:///no-host.jpg"),
    ]
    assert body["errors_total"] == 2
    assert await rows_stored(settings) == NOTHING


async def test_the_first_hundred_problems_are_listed_and_all_are_counted(client: httpx.AsyncClient) -> None:
    text = catalogue(*((str(number), "Shoe", "nowhere") for number in range(250)))
    body = problem(await client.post("/v1/batches", content=text, headers=CSV), 422)
    assert len(body["errors"]) == 100
    assert body["errors_total"] == 250


@pytest.mark.parametrize("media_type", ["application/pdf", "image/png", "application/x-www-form-urlencoded", ""])
async def test_another_media_type_is_415_and_says_what_to_send(
    client: httpx.AsyncClient, settings: Settings, media_type: str
) -> None:
    refused = await client.post("/v1/batches", content=ONE_ROW, headers={"Content-Type": media_type})
    detail = problem(refused, 415, "unsupported-media-type")["detail"]
    assert "multipart/form-data" in detail
    assert "text/csv" in detail
    assert await rows_stored(settings) == NOTHING


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("multipart/form-data", b"--x\r\n\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"no boundary anywhere"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\nnameless\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"1" * 70_000),
    ],
)
async def test_a_broken_form_is_400(
    client: httpx.AsyncClient, settings: Settings, media_type: str, data: bytes
) -> None:
    refused = await client.post("/v1/batches", content=data, headers={"Content-Type": media_type})
    problem(refused, 400, "malformed-request")
    assert await rows_stored(settings) == NOTHING


async def test_two_files_in_one_form_are_refused(client: httpx.AsyncClient, settings: Settings) -> None:
    files = [("file", ("a.csv", ONE_ROW)), ("file", ("b.csv", ONE_ROW))]
    problem(await client.post("/v1/batches", files=files), 400)
    assert await rows_stored(settings) == NOTHING


async def test_a_form_without_a_file_says_so(client: httpx.AsyncClient, settings: Settings) -> None:
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    field = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n1,2,3\r\n--x--\r\n'
    for data in (b"--x--\r\n", field):
        [error] = problem(await client.post("/v1/batches", content=data, headers=form), 422)["errors"]
        assert (error["code"], error["column"]) == ("missing", "file")
    assert await rows_stored(settings) == NOTHING


async def test_an_unknown_path_is_404(client: httpx.AsyncClient) -> None:
    body = problem(await client.get("/v2/batches"), 404, "not-found")
    assert body["instance"] == "/v2/batches"
    assert "/v2/batches" in body["detail"]


async def test_a_wrong_method_is_405_and_lists_the_allowed_ones(client: httpx.AsyncClient, settings: Settings) -> None:
    refused = await client.put("/v1/batches", content=ONE_ROW, headers=CSV)
    assert "POST" in problem(refused, 405, "method-not-allowed")["detail"]
    assert "POST" in refused.headers["allow"]
    assert await rows_stored(settings) == NOTHING


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/v1/batches/bat_none", "DELETE, GET"), ("/media/none", "GET, HEAD"), ("/v1/batches", "GET, POST")],
)
async def test_allow_has_every_method_of_a_path(client: httpx.AsyncClient, path: str, methods: str) -> None:
    refused = await client.options(path)
    problem(refused, 405, "method-not-allowed")
    assert refused.headers["allow"] == methods

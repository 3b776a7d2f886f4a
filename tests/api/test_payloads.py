"""Strings that break other programs, as product names and serial numbers: they are returned unchanged everywhere."""

import csv
import io
import json
import re

import httpx
import pytest

from support.api_calls import DrainQueues, catalogue, upload
from support.origin_server import OriginServer, image_bytes
from support.paths import CORPORA

FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "@SUM(1+9)*cmd|' /C calc'!A0",
    "+1-2",
    "-2+3",
    "\t=1+1",
    '  =HYPERLINK("http://evil.example","click")',
    "＝1+1",
    "\n=1+1",
    "\ufeff=1+1",
    "\u200b\u2060=1+1",
]
NAUGHTY = [
    "../../../../etc/passwd",
    "..\\..\\windows\\system32",
    "/etc/passwd%00.jpg",
    "CON",
    "NUL.jpg",
    ".htaccess",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE product; --",
    "${jndi:ldap://127.0.0.1/a}",
    "{{7*7}}",
    "$(touch /tmp/x)",
    "`id`",
    "%s%n%x",
    "Robert\r\nSet-Cookie: a=b",
    "\u202egnp.exe",
    "\ufeffbyte order mark",
    "Ω≈ç√∫˜µ≤≥÷",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "ﷺ" * 20,
    "Z̮̞̠͙͔ͅḀ̗̞͈̻̗Ḷ͙͎̯̹̞͓G̻O̭̗̮",
    "\x1b[31mred",
    "null",
    "undefined",
    "1/0",
    "0x0",
    "1E+02",
    "a" * 5_000,
    "\x85next line",
    "\u2028line separator",
]


def lines_of(name: str) -> list[str]:
    file = CORPORA / "payloads" / name
    return file.read_text(encoding="utf-8").split("\n") if file.exists() else []


def payloads() -> list[str]:
    """Return the strings that a CSV can contain as a name: neither blank nor with NUL characters."""
    more = [line for file in ("naughty_strings.txt", "csv_formulas.txt") for line in lines_of(file)]
    return [text for text in dict.fromkeys((*FORMULAS, *NAUGHTY, *more)) if text.strip() and "\0" not in text]


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


@pytest.fixture
async def batch_id(client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer) -> str:
    url = origin.serve("/a.jpg", image_bytes())
    rows = [(text, text, url) for text in payloads()]
    batch = await upload(client, catalogue(*rows), metadata=json.dumps({"note": NAUGHTY[6]}))
    await drain_queues()
    return str(batch["id"])


def rows_in(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))[1:]


async def test_the_csv_is_returned_unchanged(client: httpx.AsyncClient, batch_id: str) -> None:
    report = await client.get(f"/v1/batches/{batch_id}/output.csv")
    rows = rows_in(report.content.decode("utf-8"))
    assert [row[:2] for row in rows] == [[text, text] for text in payloads()]
    assert all(re.fullmatch(r"http://[0-9.:]+/media/[0-9a-f]{24}/[a-z0-9-]+\.jpg", row[3]) for row in rows)


async def test_a_safe_csv_runs_nothing_and_loses_nothing(client: httpx.AsyncClient, batch_id: str) -> None:
    report = await client.get(f"/v1/batches/{batch_id}/output.csv?safe=true")
    rows = rows_in(report.content.decode("utf-8"))
    assert not [cell for row in rows for cell in row if cell.lstrip()[:1] in {*"=+-@＝＋－＠"} or cell[0] in "\t\r\n"]
    assert [row[0].removeprefix("'") for row in rows] == [text.removeprefix("'") for text in payloads()]
    guarded = [row[0] for row in rows if row[0].removeprefix("'") in FORMULAS]
    assert [cell[0] for cell in guarded] == ["'"] * len(FORMULAS)


async def test_json_has_the_same_names(client: httpx.AsyncClient, batch_id: str) -> None:
    names: list[str] = []
    path: str | None = f"/v1/batches/{batch_id}/products?limit=200"
    while path:
        page = (await client.get(path)).json()
        names += [product["product_name"] for product in page["data"]]
        path = page["next"] and f"/v1/batches/{batch_id}/products?limit=200&after={page['next']}"
    assert [name.strip() for name in names] == [text.strip() for text in payloads()]
    assert (await client.get(f"/v1/batches/{batch_id}")).json()["metadata"] == {"note": NAUGHTY[6]}


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", 'a"; filename="evil.html', "a\r\nSet-Cookie: a=b", "＂.csv", "x" * 400, "..\\..\\a.csv"],
)
async def test_the_name_of_a_file_stays_a_name(client: httpx.AsyncClient, name: str) -> None:
    body = b"S. No.,Product Name,Input Image Urls\n1,Shoe,htp://nowhere\n"
    data = {"on_invalid": "skip"}
    answer = await client.post("/v1/batches", files={"file": (name, body, "text/csv")}, data=data)
    assert answer.status_code == 202, answer.text
    report = await client.get(f"/v1/batches/{answer.json()['id']}/output.csv")
    disposition = report.headers["content-disposition"]
    assert re.fullmatch(
        r"attachment; filename=\"bat_\w+-output\.csv\"; filename\*=UTF-8''[A-Za-z0-9._%~-]+", disposition
    )
    assert "set-cookie" not in report.headers
    assert "/" not in answer.json()["manifest"]["filename"]


KEYS = [
    "../imgsvc.db",
    "..%2fimgsvc.db",
    "%2e%2e/imgsvc.db",
    "....//imgsvc.db",
    "..\\imgsvc.db",
    "/etc/passwd",
    "{batch}/../../imgsvc.db",
    "{batch}/0-a.jpg%00.html",
    "{batch}/0-a-00000000.jpg/../../../imgsvc.db",
    "{batch}/.check-0",
    "{batch}",
    "",
]


async def test_no_key_escapes_the_media_folder(client: httpx.AsyncClient, batch_id: str) -> None:
    for key in KEYS:
        answer = await client.get(f"/media/{key.format(batch=batch_id)}")
        assert answer.status_code in {404, 405}, key
        assert b"SQLite" not in answer.content, key
        assert answer.headers["content-type"] == "application/problem+json", key

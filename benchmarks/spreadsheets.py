"""Workbooks of many rows: how long they take to be accepted and written, while the status of a batch is read.

    python benchmarks/spreadsheets.py [--rows 100000] [--formats xlsx,ods]

The URLs are those of the upload (`on_failed=original`), as links: more than a sheet may have, if there are 65,530 rows.
With LibreOffice (`soffice`), each output is opened by it and compared with output.csv, cell by cell.
"""

import argparse
import asyncio
import csv
import io
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from itertools import zip_longest
from pathlib import Path
from time import perf_counter

import httpx
import uvloop
import xlsxwriter

from processes import Service, service
from responsiveness import read, summary, until

HEADER = ("S. No.", "Product Name", "SKU", "Price", "Stock", "Description", "Input Image Urls")
LINKS = {"output": "replace", "on_failed": "original"}
AS_CSV = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1"
"""LibreOffice's options: commas, quotes, UTF-8, cells as shown, every sheet."""


def workbook(rows: int) -> bytes:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"constant_memory": True})
    sheet = book.add_worksheet("Products")
    sheet.write_row(0, 0, HEADER)
    for number in range(1, rows + 1):
        sheet.write_number(number, 0, number)
        sheet.write_string(number, 1, f"Mountain print {number}")
        sheet.write_string(number, 2, f"{number:08}")
        sheet.write_number(number, 3, number / 100)
        sheet.write_number(number, 4, number % 50)
        sheet.write_string(number, 5, f"A print of mountain {number}, on paper & wood")
        sheet.write_string(number, 6, f"https://127.0.0.1:9/{number}/a.jpg")
    book.close()
    return file.getvalue()


async def watched(name: str, running: Service, path: str, call: Callable[[], Awaitable[httpx.Response]]) -> bytes:
    """Await `call` while the batch `path` is read over and over; print the times of both."""
    api, started = running.api(), perf_counter()
    before = api.memory_info().rss
    task = asyncio.ensure_future(call())
    times = [await read(running.client, path) async for _ in until(task)]
    answer = (await task).raise_for_status()
    print(f"{name}: {perf_counter() - started:.1f} s, {len(answer.content) / 1e6:.1f} MB of answer")
    print(summary("  status reads meanwhile", times))
    print(f"  memory of the API: {before / 1e6:.0f} MB before, {api.memory_info().rss / 1e6:.0f} MB after", flush=True)
    return answer.content


async def compare(name: str, data: bytes, expected: bytes) -> None:
    """Let LibreOffice convert `data`, and compare its cells with those of a CSV."""
    printed, converted = await asyncio.to_thread(_as_csv, name, data)
    ours, theirs = (csv.reader(io.StringIO(text, newline="")) for text in (expected.decode(), converted))
    different = sum(one != other for one, other in zip_longest(ours, theirs))
    warnings = [line for line in printed.splitlines() if "javaldx" not in line and "output" not in line]
    print(f"  LibreOffice: {different} rows differ from output.csv; warnings: {warnings or 'none'}")


def _as_csv(name: str, data: bytes) -> tuple[str, str]:
    """Return what LibreOffice prints, and the CSV that it makes of a workbook."""
    with tempfile.TemporaryDirectory(prefix="imgsvc-bench-") as folder:
        path = Path(folder) / f"output.{name}"
        path.write_bytes(data)
        command = ("soffice", "--headless", "--convert-to", AS_CSV, "--outdir", folder, str(path))
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        [converted] = Path(folder).glob("*.csv")
        return done.stdout + done.stderr, converted.read_bytes().decode()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--formats", default="xlsx,ods,tsv,jsonl,xml")
    options = parser.parse_args()
    data = await asyncio.to_thread(workbook, options.rows)
    async with service("--workers", "1") as running:
        client = running.client
        other = await running.upload("S. No.,Product Name,Input Image Urls\n1,Mug,https://127.0.0.1:9/1.jpg\n")
        files = {"file": ("shop.xlsx", data)}
        await watched(
            f"xlsx of {options.rows:,} rows accepted",
            running,
            other,
            lambda: client.post("/v1/batches", files=files, params=LINKS),
        )
        [newest, _] = (await client.get("/v1/batches")).json()["data"]
        outputs = httpx.URL(newest["links"]["self"]).path
        expected = (await client.get(f"{outputs}/output.csv?partial=true")).content
        for name in options.formats.split(","):
            target = f"{outputs}/output.{name}?partial=true"
            written = await watched(f"{name} written", running, other, lambda: client.get(target))  # noqa: B023  # awaited here
            if name in ("xlsx", "ods") and shutil.which("soffice"):
                await compare(name, written, expected)


if __name__ == "__main__":
    uvloop.run(main())

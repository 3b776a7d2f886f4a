"""The programs of docs/client.md, run unchanged except for the addresses: both clients against a real imgsvc."""

import asyncio
import csv
import re
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from support.catalogues import HEADER, catalogue
from support.origin_server import OriginServer, image_bytes
from support.paths import DOCS
from support.stack import Stack

PAGE = (DOCS / "client.md").read_text(encoding="utf-8")
TEN_LINES, AWAITED, REFUSED = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


async def run(program: str, folder: Path, stack: Stack, origin: OriginServer) -> list[str]:
    """Run a program and return the lines that it prints."""
    text = program.replace("http://127.0.0.1:8000", str(stack.client.base_url)).replace(
        "https://picsum.photos", origin.url("")
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", text),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, out.decode()
    return out.decode().splitlines()


@pytest.fixture(autouse=True)
def images(origin: OriginServer) -> None:
    origin.serve("/id/29/1200/800.jpg", image_bytes(1200, 800))


async def test_the_programs_of_the_client_page_work(tmp_path: Path, stack: Stack, origin: OriginServer) -> None:
    hosts, *progress, end = await run(TEN_LINES, tmp_path, stack, origin)
    assert "assets=1" in hosts
    assert progress[-1] == "100%"
    assert re.fullmatch(r"completed -?0\.\d+", end)
    [row] = csv.DictReader((tmp_path / "output.csv").read_text(encoding="utf-8").splitlines())
    assert row["Output Image Urls (thumb)"]
    assert row["Status"] == "succeeded"
    with ZipFile(tmp_path / "images.zip") as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 2

    catalogue(tmp_path, origin.url("/id/29/1200/800.jpg"), origin.url("/status/404"))
    *progress, failed = await run(AWAITED, tmp_path, stack, origin)
    assert progress[-1] == "completed_with_errors: 2 of 2"
    assert failed == "Thing 2 ['http_404']"

    (tmp_path / "catalog.csv").write_text(f"{HEADER}1,Shoe,htp:/a\n2,Boot,b\n")
    refused = await run(REFUSED, tmp_path, stack, origin)
    assert [line.partition(":")[0] for line in refused] == [
        "line 2, Input Image Urls",
        "line 3, Input Image Urls",
    ]

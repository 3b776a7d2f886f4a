"""Downloads: a file appears when it is complete, and only then."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from imgsvc.api.openapi.examples import EXAMPLE_ID
from imgsvc.client import Conflict, ConnectionLost, UnexpectedResponse
from imgsvc.client.downloads import OUTPUT_TYPES
from imgsvc.domain.manifest.formats.table import CSV as CSV_FORMAT
from imgsvc.domain.manifest.formats.table import FORMATS
from support.scripted import BROKEN, Answer, Caller, Scripted

CSV = {"Content-Type": "text/csv; charset=utf-8"}


@pytest.mark.parametrize(
    ("name", "options", "query", "media_type"),
    [
        ("output.csv", {"extended": True, "bom": True}, "?extended=true&bom=true", "text/csv"),
        ("failures.csv", {"safe": True}, "?safe=true", "text/csv"),
        ("checks.csv", {"shops": ["meta", "google"], "bom": True}, "?shop=meta&shop=google&bom=true", "text/csv"),
        ("checks.csv", {}, "", "text/csv"),
        ("archive.zip", {"partial": True}, "?partial=true", "application/zip"),
        ("output.csv", {}, "", "text/csv"),
    ],
)
async def test_each_download_requests_its_path_and_writes_the_file(
    server: Scripted, call: Caller, tmp_path: Path, name: str, options: dict[str, Any], query: str, media_type: str
) -> None:
    server.script(Answer(200, "all of it" * 100_000, {"Content-Type": media_type}))
    await call(f"download_{name.partition('.')[0]}", EXAMPLE_ID, str(tmp_path / "file"), **options)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["all of it" * 100_000]
    assert server.requests[0].path == f"/v1/batches/{EXAMPLE_ID}/{name}{query}"


@pytest.mark.parametrize("name", [*OUTPUT_TYPES, ".XLSX", ".txt"])
async def test_the_ending_of_the_file_decides_the_format(
    server: Scripted, call: Caller, tmp_path: Path, name: str
) -> None:
    ending = ".csv" if name == ".txt" else name.lower()
    server.script(Answer(200, "all of it", {"Content-Type": OUTPUT_TYPES.get(ending, "text/csv")}))
    await call("download_output", EXAMPLE_ID, tmp_path / f"shop{name}")
    assert server.requests[0].path == f"/v1/batches/{EXAMPLE_ID}/output{ending}"
    assert (tmp_path / f"shop{name}").read_text() == "all of it"


def test_the_client_knows_the_servers_formats() -> None:
    formats = {f".{kind.name}": kind.media_types[0] for kind in FORMATS if kind is not CSV_FORMAT}
    assert formats == OUTPUT_TYPES


async def test_a_broken_download_leaves_nothing_behind(server: Scripted, call_once: Caller, tmp_path: Path) -> None:
    server.script(Answer(BROKEN, "S. No.,", CSV))
    (tmp_path / "out.csv").write_text("from before")
    with pytest.raises(ConnectionLost):
        await call_once("download_output", EXAMPLE_ID, tmp_path / "out.csv")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out.csv": "from before"}


async def test_a_broken_download_is_started_again(server: Scripted, call: Caller, tmp_path: Path) -> None:
    server.script(Answer(BROKEN, "S. No.,", CSV), Answer(503), Answer(200, "S. No.,all", CSV))
    await call("download_output", EXAMPLE_ID, tmp_path / "out.csv")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out.csv": "S. No.,all"}


async def test_the_target_may_have_a_name_of_maximum_length(server: Scripted, call: Caller, tmp_path: Path) -> None:
    server.script(Answer(200, "S. No.,all", CSV))
    await call("download_output", EXAMPLE_ID, tmp_path / ("x" * 255))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["S. No.,all"]


async def test_a_refused_download_leaves_nothing_behind(server: Scripted, call: Caller, tmp_path: Path) -> None:
    server.script(Answer(409, {"detail": "It is still processing."}))
    with pytest.raises(Conflict, match="still processing"):
        await call("download_archive", EXAMPLE_ID, tmp_path / "images.zip")
    assert not list(tmp_path.iterdir())


async def test_a_login_page_is_not_accepted_as_the_report(server: Scripted, call: Caller, tmp_path: Path) -> None:
    server.script(Answer(302, {}, {"Location": "/login"}), Answer(200, {"page": "Please sign in"}))
    for _ in range(2):  # the redirect, then the page itself
        with pytest.raises(UnexpectedResponse):
            await call("download_output", EXAMPLE_ID, tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())


async def test_a_symbolic_link_is_kept_and_its_target_is_written(
    server: Scripted, call: Caller, tmp_path: Path
) -> None:
    server.script(Answer(200, [], CSV))
    (tmp_path / "link.csv").symlink_to("target.csv")
    await call("download_output", EXAMPLE_ID, tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "target.csv").read_text() == "[]"


async def test_a_pipe_is_written_once_and_not_replaced(server: Scripted, call: Caller, tmp_path: Path) -> None:
    server.script(Answer(BROKEN, "half", CSV), Answer(200, "whole", CSV))
    os.mkfifo(tmp_path / "pipe")
    reading = asyncio.create_task(asyncio.to_thread((tmp_path / "pipe").read_text))
    with pytest.raises(ConnectionLost):
        await call("download_output", EXAMPLE_ID, tmp_path / "pipe")
    assert await reading == "half"
    assert (tmp_path / "pipe").is_fifo()

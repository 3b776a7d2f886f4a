"""The options of `imgsvc submit` become the fields of the upload, as they were typed."""

import asyncio
from email import message_from_bytes
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from imgsvc.api.openapi.examples import BATCH
from imgsvc.cli import app
from support.scripted import Answer, Scripted

SHAPE = {"fit": "pad", "width": "1000", "height": "800", "margin": "7", "background": "white"}


async def test_the_options_of_a_shape_are_sent(tmp_path: Path) -> None:
    path = tmp_path / "catalog.csv"
    path.write_bytes(b"S. No.,Product Name,Input Image Urls\n1,Shoe,https://shop.example/a.jpg\n")
    options = [word for name, value in SHAPE.items() for word in (f"--{name}", value)]
    async with Scripted() as server:
        server.script(Answer(202, BATCH))
        words = ["submit", str(path), "--trim", *options, "--url", server.url("/")]
        result = await asyncio.to_thread(CliRunner().invoke, app, words)
        [request] = server.requests
    assert (result.exit_code, result.stdout) == (0, f"{BATCH['id']}\n")
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    parts: Any = message_from_bytes(head + request.body).get_payload()
    sent = {part.get_param("name", header="Content-Disposition"): part.get_payload() for part in parts}
    del sent["file"]
    assert sent == SHAPE | {"trim": "true"}


async def test_a_url_as_the_file_is_fetched_by_the_server() -> None:
    async with Scripted() as server:
        server.script(Answer(202, BATCH))
        words = ["submit", "https://shop.example/feed.xml", "--catalogue", "shop", "--url", server.url("/")]
        result = await asyncio.to_thread(CliRunner().invoke, app, words)
        [request] = server.requests
    assert (result.exit_code, result.stdout) == (0, f"{BATCH['id']}\n")
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    parts: Any = message_from_bytes(head + request.body).get_payload()
    sent = {part.get_param("name", header="Content-Disposition"): part.get_payload() for part in parts}
    assert sent == {"source_url": "https://shop.example/feed.xml", "catalogue": "shop"}


def test_a_file_that_cannot_be_read_is_an_invalid_command(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.csv", "does not exist"), (tmp_path, "is a directory")):
        result = CliRunner().invoke(app, ["submit", str(path)])
        assert result.exit_code == 2
        assert words in " ".join(result.stderr.replace("│", " ").split())

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

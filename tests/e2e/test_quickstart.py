"""The program of docs/quickstart.md, run unchanged except for the addresses of the service and of the images."""

import asyncio
import re
import sys
from pathlib import Path

from support.origin_server import OriginServer, image_bytes
from support.paths import DOCS
from support.stack import Stack

PAGE = (DOCS / "quickstart.md").read_text(encoding="utf-8")
[PROGRAM] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
[MANIFEST] = re.findall(r"^```csv\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


async def run(folder: Path, url: str) -> tuple[int | None, str]:
    """Run the program and return its exit code and its output (stdout and stderr)."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM.replace("http://127.0.0.1:8000", url)),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode()


async def test_the_program_uploads_follows_lists_and_saves(tmp_path: Path, stack: Stack, origin: OriginServer) -> None:
    origin.serve("/id/29/1200/800.jpg", image_bytes(1200, 800))
    origin.serve("/id/30/1200/800.jpg", image_bytes(1200, 800))
    catalog = tmp_path / "catalog.csv"
    catalog.write_text(MANIFEST.replace("https://picsum.photos", origin.url("")), encoding="utf-8")
    code, output = await run(tmp_path, str(stack.client.base_url))
    assert code == 0, output
    assert "completed_with_errors: 2 of 3" in output
    assert "Mountain print The server has no such image (HTTP 404)." in output
    assert "Coffee mug http://" in output
    header = (tmp_path / "output.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == MANIFEST.splitlines()[0] + ",Output Image Urls"

    catalog.write_text(MANIFEST.replace("https://", "htp:/"), encoding="utf-8")
    code, output = await run(tmp_path, str(stack.client.base_url))
    assert code == 1
    assert "line 2: The URL must begin with http:// or https://. (htp:/picsum.photos" in output
    assert "Traceback" not in output
